"""Where a robot was and what was said there; `bag=` is what had to be added."""

from kserket import bow, gmm, mlda
from kserket import ros as srkros
from kserket.utils import Buffer

obs_pos = srkros.ObservationPos("odom", bag="run", at="speech")
obs_speech = srkros.ObservationString("speech", bag="run")

pos_buf = Buffer()
bow_ = bow.BoW(obs_speech)
bow_buff = Buffer()
gmm1 = gmm.GMM(2)
mlda1 = mlda.MLDA(2, [100, 100])

pos_buf.connect(obs_pos)
gmm1.connect(pos_buf)
bow_buff.connect(bow_)
mlda1.connect(gmm1, bow_buff)

bow_.update()
bow_buff.update()
pos_buf.update()
gmm1.update()
mlda1.update()
