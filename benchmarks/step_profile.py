"""Where the time of this project's training step goes, by kind of work."""

from collections import defaultdict

import click
from torch.profiler import profile

from benchmarks.train_step import CASES, training
from studies.report.summary import formatted

KINDS = {
    "weight gradients": {"aten::mkldnn_linear_backward_weights", "aten::to_mkldnn"},
    "convolutions": {"aten::mkldnn_convolution", "aten::convolution_backward"},
    "encoder's LSTM": {"aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward"},
    "loops of a decoder step": {"AttentionRecurrence", "AttentionRecurrenceBackward"}
    | {"RecurrentLSTM", "RecurrentLSTMBackward"},
    "attention over the text": {"aten::bmm", "aten::addmv_", "aten::addmm_", "aten::_softmax"},
    "activations": {"aten::tanh", "aten::tanh_", "aten::sigmoid_", "aten::sigmoid_backward"},
    "copies": {"aten::copy_", "aten::cat", "aten::_index_put_impl_", "aten::index", "aten::fill_"},
    "elementwise": {"aten::mul", "aten::mul_", "aten::add", "aten::add_", "aten::sub", "aten::sum"}
    | {"aten::addcmul", "aten::addcmul_out"},
    "dropout's random bits": {"aten::random_"},
    "optimizer": {"aten::_fused_adam_"},
}
PRODUCTS, REST = {"mkldnn::_linear_pointwise", "aten::mm"}, "Python, views, allocation, all else"


def kind(name: str, calls: int) -> str:
    if name in PRODUCTS:
        return "products within the loops" if calls > 50 else "products outside the loops"
    return next((kind for kind, names in KINDS.items() if name in names), REST)


@click.command(help=__doc__)
@click.option("--case", "name", type=click.Choice(list(CASES)), default="full-16", show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(name: str, form: str) -> None:
    run = training(CASES[name])
    for _ in range(3):
        run.advance()
    with profile(record_shapes=True) as seen:
        run.advance()
    spent: dict[str, float] = defaultdict(float)
    for operation in seen.key_averages(group_by_input_shape=True):
        spent[kind(operation.key, operation.count)] += operation.self_cpu_time_total / 1e3
    total = sum(spent.values())
    rows = [
        {"kind of work": what, "ms": round(ms), "share": f"{ms / total:.0%}"}
        for what, ms in sorted(spent.items(), key=lambda item: -item[1])
    ]
    click.echo(formatted(rows, form))


if __name__ == "__main__":
    main()
