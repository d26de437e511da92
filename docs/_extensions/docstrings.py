"""Docstrings of kserket, Google style with Markdown, as pages that leave plumbing out."""

import re

# What module authors write and nobody calls: on the pages of Module and LearningModule only.
HOOKS = """
    build_model check check_observed check_options check_parameters class_log_densities evaluate
    extract figures forget_samples generate get_config from_config get_parameters get_state infer
    infer_learned joint_class_log_densities joint_log_likelihood latent_bound learn learn_features
    read read_samples set_parameters set_state settings tensor_decode tensor_generate tensor_infer
    terms text_files update widen write_below
""".split()
# What modules say to graphs, and models to Keras.
PLUMBING = """
    adopt aligned belongs_to build build_for build_from_config call check_backward check_callbacks
    compile_from_config compute_loss compute_metrics conclude constant_terms decode_tensor
    decoder_output device_scope encode_tensor encode_unchecked ensure_model former_order found
    get_build_config has_tensor_rule holds_data in_own_numbering input_shapes is_read keep_seed
    learns_below load_own_variables log_likelihood_of model_class most_tensor_rows next_number
    note_written
    order_below owns_seed prior reads_given_logits receive resize restore_parameters
    sample_terms save_own_variables settle_seed soften state take_order take_seed takes_order
    takes_shape tensor_beliefs tensor_context test_on_batch test_step topic_log_densities
    train_on_batch train_step warn_once weigh weighing widened withdraw_backward_msg
""".split()
# Whose inherited members are shown, and the base class at which that stops.
INHERITED = {"Graph": "object", "Module": "object", "LearningModule": "Module"}
INHERITED |= dict.fromkeys(
    ("GaussianMixture", "MarkovChain", "MultimodalLDA", "VariationalAutoencoder"), "Model"
)


def _context(app, config):
    """Tells the template of a class what to leave out."""
    config.autosummary_context = {"hooks": HOOKS, "plumbing": PLUMBING, "inherited": INHERITED}


def _skip(app, what, name, obj, skip, options):
    """Leaves out fields of named tuples, which docstrings list, and what others wrote."""
    origin = getattr(getattr(obj, "fget", obj), "__module__", None) or "kserket"
    foreign = isinstance(origin, str) and origin.partition(".")[0] != "kserket"
    return True if foreign or type(obj).__name__ == "_tuplegetter" else None


def _markdown_to_rst(app, what, name, obj, options, lines):
    """Turns the Markdown of docstrings, `code`, code fences and tables, into reStructuredText."""
    inside, table, result = False, [], []
    for line in [*lines, ""]:
        fence = re.match(r"(\s*)```(\w*)\s*$", line)
        if not inside and not fence:
            line = re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line)
        if not inside and re.match(r"\s*\|.*\|\s*$", line):
            table.append(line)
            continue
        result += _list_table(table)
        table = []
        if fence and not inside:
            inside, margin = True, fence[1]
            result += [f"{margin}.. code-block:: {fence[2] or 'text'}", ""]
        elif fence:
            inside = False
            result.append("")
        else:
            result.append("   " + line if inside and line.strip() else line)
    lines[:] = result


def _list_table(rows):
    """A Markdown table as a list-table; nothing of no rows."""
    if not rows:
        return []
    margin = re.match(r"\s*", rows[0])[0]
    result = ["", f"{margin}.. list-table::", f"{margin}   :header-rows: 1", ""]
    for row in rows:
        if not set(row) <= set(" |-:"):
            first, *others = (cell.strip() for cell in row.strip().strip("|").split(" | "))
            result += [f"{margin}   * - {first}", *(f"{margin}     - {cell}" for cell in others)]
    return [*result, ""]


def setup(app):
    """Registers what autodoc asks."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _markdown_to_rst, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", _skip)
    app.connect("config-inited", _context, priority=400)  # before autosummary reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
