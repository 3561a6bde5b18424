"""A transformer as an ONNX graph, and its matrix products on integers of 8 bits.

ONNX Runtime's own dynamic quantization gives all rows of a matrix one range, so that what a text gets depends on the
texts that come along with it, and a single large value makes all others coarse. Here each row has its own.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.common.skipping import Unsuited
from scripts.encoder.encoders import max_positions

if TYPE_CHECKING:
    from onnx import ModelProto
    from transformers import PreTrainedModel

OPSET = 17
INPUTS, OUTPUT = ("vectors", "mask", "shares"), "sums"
TOLERANCE = 1e-3  # of the exported graph, for features of about 1
LONGEST = 256  # pieces of a text on which the graph is compared with the encoder
# A row's values have 8 bits, 128 is zero. The weights have 7: processors without instructions for neural networks
# (VNNI) add two products of 8 bits in 16, and would cut off what is larger. So all processors compute the same. Weights
# of fewer bits are computed with likewise, and compressed to less.
ROW_LEVELS, WEIGHT_LEVELS, ZERO = 127, 63, 128


def example_inputs(texts: int, pieces: int, width: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a graph at random, in which each text is a piece shorter than the one before."""
    random = np.random.default_rng(seed)
    mask = np.arange(pieces) < pieces - np.arange(texts)[:, None]
    return {
        "vectors": random.normal(0, 0.05, (texts, pieces, width)).astype("float32"),
        "mask": mask.astype("int64"),
        "shares": (mask / mask.sum(axis=1, keepdims=True)).astype("float32"),
    }


def export_graph(encoder: "PreTrainedModel") -> "ModelProto":
    """An encoder in single precision as a graph, from its pieces' vectors to their weighted sums.

    Inputs: `vectors` of pieces, float32, (texts, pieces, width); `mask`, int64, (texts, pieces), 0 for padding;
    `shares`, float32, (texts, pieces). Output: `sums`, float32, (texts, width).

    Raises:
        Unsuited: the graph does not give what the encoder gives, or cannot be made.
    """
    import onnx
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, vectors: Any, mask: Any, shares: Any) -> Any:
            states = self.encoder(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
            return (states * shares[:, :, None]).sum(dim=1)

    module = Pooled().eval()
    width = encoder.get_input_embeddings().embedding_dim
    longest = min(LONGEST, max_positions(encoder) or LONGEST)
    stream = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of what is traced: that lengths may vary is tested below
        try:
            torch.onnx.export(
                module,
                tuple(map(torch.from_numpy, example_inputs(2, 5, width).values())),
                stream,
                opset_version=OPSET,
                dynamo=False,  # the newer exporter needs more packages
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes={**dict.fromkeys(INPUTS, {0: "texts", 1: "pieces"}), OUTPUT: {0: "texts"}},
            )
            graph = onnx.load_from_string(stream.getvalue())
            change = 0.0
            for texts, pieces in ((3, 17), (1, longest)):
                inputs = example_inputs(texts, pieces, width, seed=1)
                expected = module(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
                change = max(change, float(np.abs(run_graph(graph, inputs) - expected).max()))
        except Exception as error:  # of the exporter, of ONNX Runtime, or of what is traced
            raise Unsuited(
                f"{encoder.config.model_type}: this kind of encoder cannot be exported ({type(error).__name__}). Take "
                "another encoder for transformer-int8 and transformer-distilled."
            ) from error
    if not change <= TOLERANCE:
        raise Unsuited(
            f"{encoder.config.model_type}: this kind of encoder changes when it is exported "
            f"(by up to {change:.2g}). Take another encoder for transformer-int8 and "
            "transformer-distilled."
        )
    return graph


def run_graph(graph: "ModelProto", inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What a graph gives for inputs, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def round_columns(matrix: np.ndarray, levels: int = WEIGHT_LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as int8 from -levels to levels, and the scale of each column, float32."""
    scales = np.maximum(np.abs(matrix).max(axis=0) / levels, 1e-12).astype("float32")
    return np.rint(matrix / scales).astype("int8"), scales


def to_integers(graph: "ModelProto", levels: int = WEIGHT_LEVELS) -> "ModelProto":
    """The graph with products of integers instead of those with constant matrices; other tables in half precision.

    Each row is divided by its largest value when the graph runs. All is of ONNX's own operators.

    Args:
        graph: of `export_graph`.
        levels: of a weight, on either side of 0.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(graph)
    constants = {constant.name: constant for constant in graph.graph.initializer}
    # Layers that share weights have them under names of their own.
    shared = {n.output[0]: n.input[0] for n in result.graph.node if n.op_type == "Identity" and n.input[0] in constants}
    old_nodes = [node for node in result.graph.node if node.output[0] not in shared]
    for node in old_nodes:
        node.input[:] = [shared.get(name, name) for name in node.input]
    products = [node for node in old_nodes if node.op_type == "MatMul" and node.input[1] in constants]
    matrices = {node.input[1] for node in products if len(constants[node.input[1]].dims) == 2}
    nodes: list[Any] = []
    rounded: set[str] = set()
    new: dict[str, Any] = {"int8_levels": np.float32(ROW_LEVELS), "int8_zero": np.uint8(ZERO)}

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    for name, constant in constants.items():
        array = numpy_helper.to_array(constant)
        if name in matrices:
            new[f"{name}.int8"], new[f"{name}.scales"] = round_columns(array, levels)
        elif array.dtype == np.float32 and array.ndim == 2:
            new[f"{name}.half"] = array.astype("float16")
            add("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)
        else:
            new[name] = array
    for node in old_nodes:
        if node.op_type != "MatMul" or node.input[1] not in matrices:
            nodes.append(node)
            continue
        (rows, matrix), (output,) = node.input, node.output
        width, new_width = constants[matrix].dims
        new[f"int8_rows_of.{width}"], new[f"int8_width.{new_width}"] = np.array([-1, width]), np.array([new_width])
        if rows not in rounded:
            rounded.add(rows)
            # As one list of rows, for the operators that take a scale for each.
            add("Shape", [rows], f"{rows}.shape", start=0, end=-1)
            add("Reshape", [rows, f"int8_rows_of.{width}"], f"{rows}.list")
            add("Abs", [f"{rows}.list"], f"{rows}.sizes")
            add("ReduceMax", [f"{rows}.sizes"], f"{rows}.largest", axes=[-1], keepdims=0)
            add("Div", [f"{rows}.largest", "int8_levels"], f"{rows}.steps")
            add("Shape", [f"{rows}.steps"], f"{rows}.number")
            add("Expand", ["int8_zero", f"{rows}.number"], f"{rows}.zeros")
            add("QuantizeLinear", [f"{rows}.list", f"{rows}.steps", f"{rows}.zeros"], f"{rows}.uint8", axis=0)
        add("MatMulInteger", [f"{rows}.uint8", f"{matrix}.int8", "int8_zero"], f"{output}.int32")
        add("DequantizeLinear", [f"{output}.int32", f"{rows}.steps"], f"{output}.rows", axis=0)
        add("Mul", [f"{output}.rows", f"{matrix}.scales"], f"{output}.list")
        add("Concat", [f"{rows}.shape", f"int8_width.{new_width}"], f"{output}.shape", axis=0)
        add("Reshape", [f"{output}.list", f"{output}.shape"], output)
    del result.graph.node[:], result.graph.initializer[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in new.items())
    return result
