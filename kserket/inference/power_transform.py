"""Yeo-Johnson power transforms: an invertible curve for each feature, which takes skewness away.

    z = (x - location) / scale
    y = (psi(z, power) - mean) / deviation,    psi(z, p) = ((1 + z)^p - 1) / p     for z >= 0
                                               psi(z, p) = -psi(-z, 2 - p)         for z < 0

A power of 1 leaves z unchanged; less draws large values in, more draws small ones in. Powers from 0
to 2 map all real numbers onto all real numbers.

Reference:
    I.-K. Yeo and R. A. Johnson, A new family of power transformations to improve normality or
    symmetry, Biometrika 87 (2000).
"""

from typing import NamedTuple

import numpy as np

LOWEST, HIGHEST = 0.0, 2.0


class PowerTransform(NamedTuple):
    """The curves of D features; each field has the shape (D,)."""

    power: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def identity(cls, num_features):
        """The transform that changes nothing."""
        zeros, ones = np.zeros(num_features), np.ones(num_features)
        return cls(ones, zeros, ones, zeros, ones)

    @classmethod
    def standardizing(cls, z, power, weight):
        """The transform of given powers after which data have zero mean and unit variance.

        Args:
            z: (N, D) data at zero mean and unit variance already.
            power: (D,).
            weight: (N,) how often each datum counts, or (N, D) each cell.
        """
        curved, size = yeo_johnson(z, power), weight.sum(axis=0)

        def average(values):
            return (weight @ values if weight.ndim == 1 else (weight * values).sum(axis=0)) / size

        mean = average(curved)
        deviation = np.sqrt(average(np.square(curved - mean)))
        deviation[deviation < 1e-9] = 1.0  # features that never vary
        return cls.identity(len(power))._replace(power=power, mean=mean, deviation=deviation)

    def forward(self, x):
        """y (N, D) of data x (N, D)."""
        return (yeo_johnson(self._standard(x), self.power) - self.mean) / self.deviation

    def inverse(self, y):
        """x (N, D) that `forward` takes to y (N, D)."""
        from scipy.special import inv_boxcox1p

        curved = np.asarray(y, np.float64) * self.deviation + self.mean
        z = np.copysign(inv_boxcox1p(np.abs(curved), _exponent(curved, self.power)), curved)
        return z * self.scale + self.location

    def log_slope(self, x):
        """log dy/dx, (N, D), of data x (N, D)."""
        slope = (self.power - 1.0) * signed_log(self._standard(x))
        return slope - np.log(self.scale * self.deviation)

    def spread(self, x, variance):
        """Variance (N, D) of y, to first order, of data x (N, D) of a variance (N, D).

        That of cells of NaN, of which nothing is known, stays.
        """
        return variance * np.exp(2.0 * np.nan_to_num(self.log_slope(x)))

    def _standard(self, x):
        return (np.asarray(x, np.float64) - self.location) / self.scale


def yeo_johnson(z, power):
    """psi(z, power), (N, D), of z (N, D) and power (D,)."""
    from scipy.special import boxcox1p

    return np.copysign(boxcox1p(np.abs(z), _exponent(z, power)), z)


def power_slope(z, power):
    """The derivative of psi(z, power) by the power, (N, D)."""
    from scipy.special import boxcox1p

    exponent, length = _exponent(z, power), np.log1p(np.abs(z))
    grown = exponent * length
    near = grown < 1e-3
    series = length**2 * (0.5 + grown / 3.0 + grown**2 / 8.0)
    exact = length * np.exp(grown) - boxcox1p(np.abs(z), exponent)
    return np.where(near, series, exact / np.where(near, 1.0, exponent))


def signed_log(z):
    """sign(z) log(1 + |z|): what the power multiplies in the log slope of psi."""
    return np.copysign(np.log1p(np.abs(z)), z)


def _exponent(z, power):
    """What 1 + |z| is raised to: the power, or its mirror image for negative z."""
    return np.where(z < 0.0, 2.0 - power, power)
