"""The graph gives what the encoder gives; on integers, nearly so, and each text by itself."""

import zlib

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the variant transformer-int8 needs requirements.txt")
pytest.importorskip("spacy_transformers", reason="the transformer variants need requirements.txt")

import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoModel, ElectraConfig, ElectraModel, MPNetConfig, MPNetModel

from scripts.common.skipping import Unsuited
from scripts.compress import graph as module
from scripts.compress.graph import (
    OPSET,
    WEIGHT_LEVELS,
    example_inputs,
    export_graph,
    round_columns,
    run_graph,
    to_integers,
)
from scripts.compress.packing import compress
from tests.encoder.test_transformer import make_encoder

SMALL = {
    "vocab_size": 30, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
    "max_position_embeddings": 64,
}  # fmt: skip


def make(kind, folder):
    torch.manual_seed(0)
    if kind == "electra":
        return ElectraModel(ElectraConfig(**SMALL, embedding_size=32)).eval()
    if kind == "mpnet":
        return MPNetModel(MPNetConfig(**SMALL)).eval()
    return AutoModel.from_pretrained(make_encoder(folder / kind, kind)).eval()


@pytest.fixture(scope="module", params=["bert", "distilbert", "electra", "mpnet"])
def encoder(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp("graph"))


@pytest.fixture(scope="module")
def graph(encoder):
    return export_graph(encoder)


def width(encoder):
    return encoder.get_input_embeddings().embedding_dim


def expected(encoder, inputs):
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        states = encoder(inputs_embeds=tensors["vectors"], attention_mask=tensors["mask"]).last_hidden_state
    return (states * tensors["shares"][:, :, None]).sum(dim=1).numpy()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 9), (3, 40)])
def test_the_graph_gives_what_the_encoder_gives_at_any_length(encoder, graph, shape):
    inputs = example_inputs(*shape, width(encoder), seed=2)
    assert run_graph(graph, inputs) == pytest.approx(expected(encoder, inputs), abs=1e-4)


def test_integers_give_nearly_the_same(encoder, graph):
    inputs = example_inputs(4, 9, width(encoder), seed=3)
    before = expected(encoder, inputs)
    error = np.abs(run_graph(to_integers(graph), inputs) - before).max()
    assert 0 < error < 0.03 * np.abs(before).max()


def test_what_a_text_gets_does_not_depend_on_its_neighbours(encoder, graph):
    """ONNX Runtime's own dynamic quantization fails here: one large value makes all other texts of a batch coarse."""
    inputs = example_inputs(4, 9, width(encoder), seed=4)
    alone = run_graph(to_integers(graph), {name: array[:1] for name, array in inputs.items()})
    inputs["vectors"][1:] *= 1000
    assert run_graph(to_integers(graph), inputs)[:1] == pytest.approx(alone, abs=1e-5)


def test_matrices_have_seven_bits_and_no_large_table_is_left(graph):
    arrays = [numpy_helper.to_array(constant) for constant in to_integers(graph).graph.initializer]
    matrices = [array for array in arrays if array.dtype == np.int8]
    assert len(matrices) >= 12 and max(np.abs(matrix).max() for matrix in matrices) == WEIGHT_LEVELS
    # So that no processor has to cut off the sum of two products, which some keep in 16 bits.
    assert 2 * 255 * WEIGHT_LEVELS < 2**15
    assert all(array.nbytes <= 4 * 96 for array in arrays if array.dtype == np.float32)


def test_fewer_levels_are_compressed_to_less(graph):
    whole, few = (to_integers(graph, levels).SerializeToString() for levels in (WEIGHT_LEVELS, 15))
    matrices = [numpy_helper.to_array(constant) for constant in to_integers(graph, 15).graph.initializer]
    assert max(np.abs(matrix).max() for matrix in matrices if matrix.dtype == np.int8) == 15
    assert len(whole) == len(few)
    packed = [compress(data) for data in (whole, few)]
    assert [zlib.decompress(array.tobytes()) for array in packed] == [whole, few]
    assert packed[1].nbytes < 0.9 * packed[0].nbytes
    assert packed[1].nbytes < len(zlib.compress(few, 9)), "rounded numbers do not repeat themselves"


def test_rows_of_zeros_give_zeros():
    matrix = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, n]) for name, n in (("x", 8), ("y", 4))]
    nodes = [helper.make_node("MatMul", ["x", "matrix"], ["y"])]
    inside = helper.make_graph(nodes, "product", tensors[:1], tensors[1:], [numpy_helper.from_array(matrix, "matrix")])
    product = helper.make_model(inside, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    rows = np.vstack([np.zeros(8), np.arange(8), np.full(8, 1e-4)]).astype("float32")
    found, wanted = run_graph(to_integers(product), {"x": rows}), rows @ matrix
    assert not found[0].any()
    for row, other in zip(found[1:], wanted[1:], strict=True):
        assert np.abs(row - other).max() < 0.03 * np.abs(other).max()


def test_the_operators_are_those_of_the_standard(graph):
    assert {node.domain for node in to_integers(graph).graph.node} <= {"", "ai.onnx"}


def test_columns_are_rounded_to_half_a_step():
    matrix = np.random.default_rng(0).normal(size=(50, 4)).astype("float32") * [1, 100, 1e-3, 0]
    integers, scales = round_columns(matrix)
    assert integers.dtype == np.int8 and scales.dtype == np.float32
    assert (np.abs(integers * scales - matrix) <= 0.5001 * scales).all()
    assert not integers[:, 3].any()


def test_an_encoder_that_changes_is_refused(encoder, monkeypatch):
    monkeypatch.setattr(module, "run_graph", lambda graph, inputs: np.zeros(1, "float32"))
    with pytest.raises(Unsuited, match=f"{encoder.config.model_type}: this kind of encoder changes"):
        export_graph(encoder)
