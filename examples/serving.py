"""A graph behind HTTP: exported once, served by a few lines, asked by a client.

The server needs TensorFlow and the exported folder; kserket is not imported there. The client
needs neither. Requests and answers look as those of TensorFlow Serving do, which takes the same
folder:

    docker run -p 8501:8501 -v "$PWD/served:/models/digits" -e MODEL_NAME=digits tensorflow/serving

    python examples/serving.py            # learns, exports, serves on a free port, asks
"""

import argparse
import http.server
import json
import tempfile
import threading
import urllib.error
import urllib.request

NUM_CLASSES = 10


def export(folder, num_images, epochs):
    """Learns digits without labels, and writes what was learned.

    Args:
        folder: Where to, such as "served/1".
        num_images: How many to learn from.
        epochs: Of the autoencoder, in each of two rounds.

    Returns:
        The graph, and its images (N, 64).
    """
    import kserket as srk
    from kserket import gmm, vae

    images, _ = srk.datasets.load_digits()
    images = images[:num_images]
    vae1 = vae.VAE(10, itr=epochs, batch_size=100, KL_param=1 / 16, save_dir=None)
    gmm1 = gmm.GMM(NUM_CLASSES, save_dir=None)
    vae1.connect(srk.Observation(images, name="images"))
    gmm1.connect(vae1)
    graph = srk.Graph(gmm1, seed=0)
    graph.fit(rounds=2, verbose=0)
    graph.export(folder)
    return graph, images


def make_server(folder, port=0):
    """A server of an exported graph; `serve_forever` runs it.

    Args:
        folder: What `Graph.export` wrote.
        port: Number; 0 takes one that is free.
    """
    import tensorflow as tf

    signatures = tf.saved_model.load(folder).signatures

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                signature = signatures[body.get("signature_name", "classify")]
                specs = signature.structured_input_signature[1]
                inputs = {
                    name: tf.constant(value, specs[name].dtype)
                    for name, value in body["inputs"].items()
                }
                outputs = {name: y.numpy().tolist() for name, y in signature(**inputs).items()}
                self.reply(200, {"outputs": outputs})
            except Exception as error:  # a bad request must not end the server
                self.reply(400, {"error": f"{type(error).__name__}: {error}"})

        def reply(self, status, content):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *args):
            """Nothing: a request is no news."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)


def ask(url, signature, **inputs):
    """What a client does: sends lists by name, and gets arrays as lists by name.

    Args:
        url: Of the server.
        signature: "classify", "encode", "decode" or "generate".
        **inputs: What that signature takes.

    Returns:
        Dict from name to nested lists.

    Raises:
        RuntimeError: With the server's words, if it refuses.
    """
    body = json.dumps({"signature_name": signature, "inputs": inputs}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(json.load(error)["error"]) from None


def main(argv=None):
    """Exports, serves and asks.

    Args:
        argv: Command line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="little training: does it run?")
    args = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as folder:
        size = (300, 3) if args.quick else (1797, 50)
        graph, images = export(f"{folder}/1", *size)
        server = make_server(f"{folder}/1")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/models/digits:predict"
        print(f"Serving {graph} at {url}")

        asked = images[:3]
        probabilities = ask(url, "classify", images=asked.tolist())["gmm"]
        predicted = graph.predict(asked).argmax(axis=1)
        for answer, own in zip(probabilities, predicted, strict=True):
            print(f"class {answer.index(max(answer))}, by `predict` {own}")
        drawn = ask(url, "generate", component=[0, 1], seed=7)["images"]
        print(f"drew {len(drawn)} images of {len(drawn[0])} pixels")
        try:
            ask(url, "classify", pictures=asked.tolist())
        except RuntimeError as error:
            print(f"A wrong name is refused: {str(error)[:60]}")
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
