"""timm and torchvision without the compiler, which is there as soon as somebody compiles."""

from __future__ import annotations

from textwrap import dedent

from ..helpers import python

COMPILED = """
    import sys
    import torch
    from mammozoo.models.imports import without_dynamo

    disable = torch.compiler.disable
    with without_dynamo():
        import timm
        import torchvision

        @torch.compiler.disable
        def twice(x):
            "Two."
            seen.append(torch.compiler.is_compiling())
            return x * 2

    seen = []
    assert torch.compiler.disable is disable
    assert twice(3) == 6 and twice.__doc__ == "Two."
    network = timm.create_model("test_resnet", num_classes=1).eval()
    image = torch.ones(1, 3, 64, 64)
    plain = network(image)
    assert not {"torch._dynamo", "torch._dynamo.utils"} & set(sys.modules)

    boxes = [torch.tensor([[0.0, 0.0, 8.0, 8.0]])]
    torchvision.ops.roi_align(plain[:, :, None, None].expand(1, 1, 9, 9), boxes, 2)
    assert torch.allclose(torch.compile(network, backend="eager")(image), plain)

    graphs = []
    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    @torch.compile(backend=counted)
    def around(x):
        return twice(x + 1) - 1

    assert around(torch.ones(2)).tolist() == [3, 3]
    assert len(graphs) == 2 and not any(seen)  # before and behind the function that is not compiled
    with without_dynamo():
        assert torch.compiler.disable is disable
"""


AT_ONCE = """
    import sys
    from mammozoo.models.imports import without_dynamo

    with without_dynamo():
        from torch._dynamo.utils import counters
    assert counters is sys.modules["torch._dynamo.utils"].counters
"""


def test_timm_and_torchvision_get_the_compiler_when_something_is_compiled() -> None:
    assert python("-c", dedent(COMPILED)).ok


def test_a_name_that_has_to_be_there_at_once_comes_from_the_compiler() -> None:
    assert python("-c", dedent(AT_ONCE)).ok
