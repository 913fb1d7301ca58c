import subprocess
import sys


def test_importing_training_and_episodes_imports_nothing_heavy():
    code = (
        "import sys, tt_assets.trading.batch, tt_assets.trading.episode; "
        "heavy = {'torch', 'stable_baselines3', 'tensortrade', 'gymnasium', 'matplotlib', 'dagster', 'sqlalchemy', "
        "'tt_assets.storage', 'tt_assets.settings'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
