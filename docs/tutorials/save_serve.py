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
# # Save, resume, serve
#
# A trained graph leaves the notebook in three ways. One file keeps all of it. A backup folder
# carries a long run over a crash. An export answers requests where kserket is not installed.

# %%
import json
import pathlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import kserket as srk
from kserket import gmm, vae

images, labels = srk.datasets.load_digits()
known, new = images[:1000], images[1000:]


def make_graph():
    """The same graph whenever it is called."""
    srk.Module.reset_names()
    vae1 = vae.VAE(10, itr=15, batch_size=100, KL_param=1 / 16, save_dir=None)
    gmm1 = gmm.GMM(10, category=labels[:1000], save_dir=None)
    vae1.connect(srk.Observation(known, name="images"))
    gmm1.connect(vae1)
    return srk.Graph(gmm1, seed=0)


graph = make_graph()
history = graph.fit(rounds=2, verbose=0)

# %% [markdown]
# ## Save and load
#
# The file holds models with their optimizers, messages, history, seeds and data. A loaded graph
# predicts the same and learns on as the saved one would, to the last bit.

# %%
graph.save("digits.kserket")
same = srk.load_graph("digits.kserket")
print("same answers:", (same.predict(new) == graph.predict(new)).all())

same.fit(rounds=1, verbose=0)
graph.fit(rounds=1, verbose=0)
print("same third round:", same.history.history == graph.history.history)

# %% [markdown]
# Data are part of the file unless you leave them out. Do so where they are large, or not yours to
# pass on.

# %%
graph.save("model_only.kserket", include_data=False)
for name in ("digits.kserket", "model_only.kserket"):
    print(f"{name:20} {pathlib.Path(name).stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Resume after a crash
#
# With `backup_dir`, `fit` writes a backup after each round. Here the power fails in the third one:


# %%
class PowerFailure(keras.callbacks.Callback):
    """Raises when the third round begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise SystemError("power failure")


try:
    make_graph().fit(rounds=4, backup_dir="run", callbacks=[PowerFailure()], verbose=0)
except SystemError as error:
    print("stopped:", error)

# %% [markdown]
# Run the same program again. It finds the two finished rounds and does the other two. The result is
# what an uninterrupted run would have given.

# %%
resumed = make_graph()
resumed.fit(rounds=4, backup_dir="run", verbose=0)

straight = make_graph()
straight.fit(rounds=4, verbose=0)
print("rounds:", resumed.round)
print("as if nothing had happened:", (resumed.predict(new) == straight.predict(new)).all())

# %% [markdown]
# ## Export
#
# `export` writes a TensorFlow SavedModel with up to four signatures. It runs in plain TensorFlow,
# in Keras, and in TensorFlow Serving.
#
# | signature | takes | returns |
# |---|---|---|
# | `classify` | observations | class probabilities |
# | `encode` | observations | latent means and class probabilities of every module |
# | `decode` | latent variables | observations |
# | `generate` | classes and a seed | draws of the observations |

# %%
print(graph.export("served/1"))
served = tf.saved_model.load("served/1")
answer = served.signatures["classify"](images=tf.constant(new[:5]))["gmm"]
print(f"largest difference to predict: {np.abs(answer - graph.predict(new[:5])).max():.0e}")

# %% [markdown]
# ## Serve, with a client
#
# TensorFlow Serving takes the folder unchanged:
#
# ```console
# docker run -p 8501:8501 -v "$PWD/served:/models/digits" -e MODEL_NAME=digits tensorflow/serving
# ```
#
# Where that is not at hand, a few lines of Python do the same for a small load. This server speaks
# the same requests. It needs TensorFlow and the folder, and not kserket.
# (`examples/serving.py` is this as a program that also refuses bad requests.)


# %%
class Handler(BaseHTTPRequestHandler):
    """Answers POST requests as TensorFlow Serving would."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        signature = served.signatures[request["signature_name"]]
        specs = signature.structured_input_signature[1]
        inputs = {k: tf.constant(v, specs[k].dtype) for k, v in request["inputs"].items()}
        outputs = {name: y.numpy().tolist() for name, y in signature(**inputs).items()}
        body = json.dumps({"outputs": outputs}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keeps quiet."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1/models/digits:predict"

# %% [markdown]
# The client needs nothing but the standard library. It sends lists by name and gets lists back.


# %% tags=["thumbnail"]
def ask(signature, **inputs):
    """What the served graph answers."""
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["outputs"]


probabilities = np.array(ask("classify", images=new[:8].tolist())["gmm"])
print("classes:", probabilities.argmax(axis=1))
print("predict:", graph.predict(new[:8]).argmax(axis=1))

drawn = np.array(ask("generate", component=list(range(10)), seed=7)["images"])
figure, axes = plt.subplots(1, 10, figsize=(8, 1), layout="constrained")
for ax, image in zip(axes, drawn, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.axis("off")

server.shutdown()
server.server_close()

# %% [markdown]
# ## Next
#
# [The guide](../guides/save_resume_serve.md) has the rest: what is in the file, modules of your own
# in files and exports, LiteRT for phones and robots, and what a served graph does not check.
