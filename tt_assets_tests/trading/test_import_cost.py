import subprocess
import sys
from importlib.util import find_spec


def test_importing_training_and_episodes_imports_nothing_heavy():
    code = (
        "import sys, tt_assets.trading.agents.batch, tt_assets.trading.episodes.roll; "
        "heavy = {'torch', 'stable_baselines3', 'tensortrade', 'gymnasium', 'matplotlib', 'numba', 'dagster', "
        "'sqlalchemy', 'tt_assets.postgres', 'tt_assets.settings'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


STEP = """
import sys
import torch
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.Adam([weight])
optimizer.zero_grad()
(weight * weight).sum().backward()
optimizer.step()
print(weight.tolist(), *(name for name in ('torch._inductor', 'triton') if sys.modules.get(name)))
"""


def _learn_a_step(before: str) -> str:
    return subprocess.run([sys.executable, "-c", before + STEP], check=True, capture_output=True, text=True).stdout


def test_a_training_process_learns_the_same_without_loading_the_compiler_that_torch_loads_for_every_optimizer():
    lean = _learn_a_step("from tt_assets.trading.agents.batch import leave_out_the_compiler as lean; lean()").split("]")
    # The day torch does without it by itself, this has no purpose any more.
    compiler = "torch._inductor triton" if find_spec("triton") else "torch._inductor"  # ours is installed without it
    assert _learn_a_step("").split("]") == [lean[0], f" {compiler}{lean[1]}"]
    assert lean[1].strip() == ""
