# ---
# jupytext:
#   text_representation:
#     extension: .py
#     format_name: percent
# kernelspec:
#   display_name: Python 3
#   language: python
#   name: python3
# ---


# %% [markdown]
# # A table: clusters, how many, and why
#
# You have a table of measurements and no labels. Which rows belong together, into how many groups,
# and what sets the groups apart? The table here is scikit-learn's: 178 wines, 13 chemical
# measurements. Their three cultivars are known, and used to score only.

# %%
import numpy as np
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kserket as srk
from kserket import plotting
from kserket.sklearn import GaussianMixture

wine = load_wine()
table, cultivars = wine.data, wine.target
features = [name.replace("_", " ") for name in wine.feature_names]
print(table.shape, *features, sep="\n  ")

# %% [markdown]
# ## Clusters
#
# For a table of a few hundred rows a Gaussian mixture is the first choice. `power_transform=True`
# lets it straighten skewed columns by a curve that it learns. `kserket.sklearn` has the mixture as
# a scikit-learn estimator, for pipelines and grid searches.

# %%
model = make_pipeline(StandardScaler(), GaussianMixture(3, power_transform=True, random_state=0))
classes = model.fit_predict(table)
print(f"accuracy {srk.metrics.clustering_accuracy(cultivars, classes):.3f}")
ax = plotting.plot_confusion(cultivars, classes)

# %% tags=["thumbnail"]
probabilities = model.predict_proba(table)
print(f"{(probabilities.max(axis=1) < 0.95).sum()} wines are less than 95 % certain")
scaled = model[0].transform(table)
ax = plotting.plot_latent(scaled, probabilities, title="178 wines, by cluster")

# %% [markdown]
# ## How many
#
# Leave the number out, and the mixture finds it in the data. Then look at the comparison before you
# trust the answer.

# %%
found = GaussianMixture(None, random_state=0).fit(scaled)
print(found.model_.num_components, "components")

comparison = srk.select_components(scaled, range(1, 7), num_splits=2, seed=0, n_init=5)
print(comparison)
axes = comparison.plot()

# %% [markdown]
# The bar is the number found. Stability is the agreement of classes found in different parts of the
# data: it is high at a number that is there. The bound alone is no rule, since it goes on rising
# where classes are not quite Gaussian. [How many classes](../guides/number_of_classes.md) has more.
#
# ## What sets the clusters apart
#
# `explain` compares each cluster with all other wines, column by column: Cohen's d, the difference
# of the means in standard deviations within the groups. It reads a graph; `recipes.table` is the
# mixture above as one.

# %%
graph = srk.recipes.table(table, K=3, seed=0)
graph.fit(verbose=0)
found = srk.explain(graph, names=features)
print(found)

# %%
ax = found.plot()

# %% [markdown]
# ## Gaps
#
# A row with a single missing cell need not be lost. `recipes.table` takes NaN, and the mixture
# integrates out what was not observed. Here one cell in ten is taken away:

# %%
rng = np.random.default_rng(0)
gaps = np.where(rng.random(table.shape) < 0.1, np.nan, table)
print(f"{np.isnan(gaps).any(axis=1).mean():.0%} of rows have a gap")

with_gaps = srk.recipes.table(gaps, K=3, seed=0)
with_gaps.fit(rounds=1, verbose=0)
classes = with_gaps.predict(gaps).argmax(axis=1)
print(f"accuracy {srk.metrics.clustering_accuracy(cultivars, classes):.3f}")

# %% [markdown]
# ## Next
#
# - [scikit-learn](../guides/scikit_learn.md): grid search, any graph as an estimator.
# - [Getting good clusters](../guides/good_clusters.md#two-readers-of-a-table): when a VAE helps.
