"""The settings of every benchmark, sections of `gendesign benchmark NAME`."""

from dataclasses import dataclass

from gendesign.fields import setting

GLASS_PARTS = ("silicon", "silica", "trend", "published", "similarity", "batching", "large", "scale")  # of `amorphous`


@dataclass(frozen=True, kw_only=True)
class Potentials:
    """Settings of `gendesign benchmark potentials`."""

    test: tuple[str, ...] = setting(
        (), "labelled files of the frozen test set, patterns allowed, such as training/test/shard-*.extxyz"
    )
    molecules: int = setting(20, "molecules for geometries and dynamics", least=1)
    vibrations: int = setting(8, "of these, molecules whose frequencies are compared", least=1)
    torsions: int = setting(20, "rotatable bonds whose profiles are compared", least=1)


@dataclass(frozen=True, kw_only=True)
class DiffusionTable:
    """Settings of `gendesign benchmark diffusion`."""

    checkpoint: str = setting("qm9-diffusion", "diffusion model: bundled, or its folder", file=True)
    data: str | tuple[str, ...] = setting("qm9", "what it was trained on; of qm9 the novelty is measured", file=True)
    samples: int = setting(1000, "raw samples", least=1)
    calls: tuple[int, ...] = setting((6, 16, 32, 64, 256), "numbers of model calls that are compared", least=2)
    per_call: int = setting(100, "raw samples with each of them", least=1)
    sizes: tuple[int, ...] = setting((9, 15, 20), "heavy atoms at which generators are compared", least=1)
    per_size: int = setting(50, "attempts of each generator at each size", least=1)
    kernel_weight: float = setting(0.3, "weight of the similarity in the sum of both", above=0)


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """Settings of `gendesign benchmark conditional`."""

    tries: int = setting(10, "attempts at each case", least=1)
    pairs: int = setting(30, "pairs of fragments to link", least=0)
    scaffolds: int = setting(20, "molecules to grow on", least=0)
    formulas: int = setting(10, "exact formulas", least=0)
    macrocycles: int = setting(50, "attempts at a ring of 24 heavy atoms", least=0)
    shapes: int = setting(10, "molecules whose shape is asked for", least=0)
    likeness: int = setting(40, "attempts with each of two reference sets", least=0)
    cost: bool = setting(True, "measure the cost of a molecule")


@dataclass(frozen=True, kw_only=True)
class Building:
    """Settings of `gendesign benchmark agent`."""

    symmetric: tuple[str, ...] = setting(("SOF4", "SF6"), "bags whose best structure is known, one agent for each seed")
    seeds: int = setting(3, "agents for each of these", least=1)
    symmetric_steps: int = setting(40_000, "placements of each", least=1)
    bags: tuple[str, ...] = setting(
        ("C3H8O", "C2H5NO", "C3H6O", "C4H7N", "C3H5NO3", "C7H10O2", "C7H8N2O2"), "organic bags, one agent each"
    )
    bag_steps: int = setting(60_000, "placements of each", least=1)
    episodes: int = setting(200, "molecules that every trained agent builds for the comparison", least=1)
    agent: str | None = setting("builder", "agent of several bags, bundled or a folder; null leaves these rows out")
    unseen: int = setting(10, "formulas which that agent never saw", least=0, most=10)
    solvation_steps: int = setting(
        60_000, "placements of the agent that solvates formaldehyde; 0 leaves these rows out", least=0
    )
    speed: bool = setting(True, "measure placements per second")


@dataclass(frozen=True, kw_only=True)
class Perovskites:
    """Settings of `gendesign benchmark perovskites`."""

    test: tuple[str, ...] = setting(
        (), "labelled files of structures held out, patterns allowed, such as training/hoip/dft-test.extxyz"
    )
    compositions: tuple[str, ...] = setting(
        ("C=CC[NH3+] Pb Br", "CCCC[NH3+] Pb I", "[NH3+]CCCC[NH3+] Pb Br", "C1CC1[NH3+] Sn I"),
        "crystals to be found again, as CATION METAL HALIDE; hoip was trained on none of the default cations",
    )
    references: str | None = setting(
        None, "file of reference crystals, from scripts/hoip/references.py; null for the shipped one"
    )
    searches: int = setting(
        3, "searches of each composition, with the seeds seed, seed + 1 and so on; all of them count", least=1
    )
    starts: int = setting(768, "candidates of each search, random starts and their mutants", least=1)
    shard_size: int = setting(768, "candidates that compete, the unit that is written", least=1)
    cells: tuple[str, ...] = setting(
        ("sqrt2", "1"), "in-plane cells of these searches: the first one that holds no more than most_atoms"
    )
    most_atoms: int = setting(60, "atoms per cell in these searches, at most", least=1)
    rounds: int = setting(2, "rounds of successive halving", least=0)
    steps: int = setting(20, "optimizer steps in each round", least=1)
    max_steps: int = setting(1000, "steps of the final relaxation, which is otherwise relaxation=perovskites", least=0)
    fmax: float = setting(0.01, "largest force of a relaxed structure", unit="eV/Angstrom", above=0)
    max_stress: float = setting(0.1, "largest stress left in a relaxed cell", unit="GPa", above=0)
    max_atoms: int = setting(1000, "atoms per batch, which bounds the memory", least=1)
    known: tuple[str, ...] = setting(
        ("BA2PbI4", "PEA2PbI4"),
        "crystals whose lattice is compared with experiment, in cells of two metals",
        allowed=("BA2PbI4", "PEA2PbI4"),
    )
    published: int = setting(
        96,
        "starts in the published cell and space group of each of their phases; 0 leaves these rows out",
        least=0,
    )
    teacher_cells: str | None = setting(
        None, "file of these and the cubic crystals as the teacher relaxed them, each with info material=BA2PbI4 or so"
    )
    cubic: tuple[str, ...] = setting(
        ("CsPbI3", "CsPbBr3"), "cubic crystals whose lattice constant is compared", allowed=("CsPbI3", "CsPbBr3")
    )
    timed: int = setting(
        16,
        "starts of the first composition, relaxed in batches and one by one; 0 leaves these rows without values",
        least=0,
    )
    timed_fmax: float = setting(0.05, "largest force of these in the end", unit="eV/Angstrom", above=0)
    timed_stress: float = setting(0.2, "largest stress left in their cells", unit="GPa", above=0)
    timed_steps: int = setting(1000, "most steps of these", least=1)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Settings of `gendesign benchmark speed`."""

    repeats: int = setting(3, "full runs that are timed, after a short one to warm up", least=1)
    molecules: int = setting(20, "molecules of nine heavy atoms sampled at once", least=1)
    steps: int = setting(50, "noise levels", least=2)
    particles: int = setting(10, "copies of each molecule", least=1)
    references: int = setting(2000, "reference environments of the kernel", least=1)


@dataclass(frozen=True, kw_only=True)
class Druglike:
    """Settings of `gendesign benchmark druglike`."""

    sizes: tuple[int, ...] = setting((20, 27), "heavy atoms of the molecules", least=1)
    attempts: tuple[int, ...] = setting((200, 100), "molecules of each size", least=1)
    references: int = setting(100, "molecules of MOSES beside each size", least=1, most=100)
    pockets: tuple[str, ...] = setting(
        ("posebusters",),
        "complexes whose pockets are filled: folders with NAME.pdb and NAME.sdf, or posebusters for the four that come "
        "with that package; [] for none",
    )
    pocket_attempts: int = setting(25, "molecules in each pocket", least=1)


@dataclass(frozen=True, kw_only=True)
class Campaigns:
    """Settings of `gendesign benchmark campaign`."""

    workers: int = setting(1000, "workers of the simulation", least=1)
    shards: int = setting(1_000_000, "shards of the simulation", least=1)
    rows: int = setting(1_000_000, "shards of the ledger that is rebuilt", least=1)
    stubs: int = setting(1000, "candidates of a campaign whose work costs nothing", least=1)
    molecules: int = setting(40, "molecules of a campaign whose overhead is measured; 0: none", least=0)
    large: int = setting(10_000, "raw molecules of a campaign whose memory and time are measured; 0: none", least=0)
    finished: str | None = setting(
        None, "folder of a finished campaign without budgets, for what budgets would have missed; null leaves these out"
    )
    by: tuple[str, ...] = setting(("min sa_score", "min uncertainty"), "objectives by which budgets would have chosen")
    budgets: tuple[float, ...] = setting((0.05, 0.1, 0.25), "budgets, as shares of the candidates", above=0, most=1)
    top: int = setting(20, "best candidates that a budget should not miss", least=1)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Settings of `gendesign benchmark pretraining`."""

    files: tuple[str, ...] = setting((), "accurate labels to learn from, patterns allowed")
    test: tuple[str, ...] = setting((), "further accurate labels to test on, each file by itself, patterns allowed")
    init: str = setting("organic", "potential that was fitted to cheap labels; its architecture is that of both fits")
    sizes: tuple[int, ...] = setting(
        (10, 30, 100, 300), "numbers of accurate labels, the first so many of one random order", least=1
    )
    steps: int = setting(5000, "batches of a fit from nothing", least=1)
    finetune_steps: int = setting(1500, "batches of a fit from the potential", least=1)
    batch_size: int = setting(5, "structures per batch", least=1)
    learning_rate: float = setting(0.004, "learning rate after the warm-up, of a fit from nothing", above=0)
    finetune_learning_rate: float = setting(0.002, "learning rate after the warm-up, from the potential", above=0)
    molecules: int = setting(4, "geometries from which dynamics start", least=1)
    temperature: float = setting(600.0, "temperature of the dynamics", unit="K", above=0)
    time: float = setting(5.0, "length of the dynamics", unit="ps", above=0)


@dataclass(frozen=True, kw_only=True)
class Amorphous:
    """Settings of `gendesign benchmark amorphous`."""

    parts: tuple[str, ...] = setting(
        (), "parts to measure now, such as [silicon,trend]; [] for all; finished parts are read", allowed=GLASS_PARTS
    )
    silicon_atoms: int = setting(216, "atoms of a model of silicon", least=64)
    silicon_models: int = setting(3, "models of silicon", least=1)
    silicon_protocol: str = setting("silicon_slow", "protocol of these, a name or a file", file=True)
    silica_atoms: int = setting(648, "atoms of a model of silica", least=72)
    silica_models: int = setting(2, "models of silica", least=1)
    silica_protocol: str = setting("silica_slow", "protocol of these, a name or a file", file=True)
    trend_rates: tuple[float, ...] = setting(
        (100.0, 20.0, 4.0), "rates of the quench by EDIP from 1800 to 600 K, falling", unit="K/ps", above=0
    )
    trend_models: int = setting(3, "models at each rate", least=2)
    trend_atoms: int = setting(216, "atoms of these", least=64)
    glasses: tuple[str, ...] = setting(
        (), "the 24 published silica glasses, LAMMPS data files, patterns allowed, such as glasses/*.dat.gz"
    )
    similarity_atoms: int = setting(216, "atoms of a model of the similarity route", least=24)
    similarity_models: int = setting(2, "models of it, of silicon and of silica each", least=1)
    batch_models: int = setting(16, "models whose dynamics run in one batch", least=2)
    batch_single: int = setting(4, "of these, models that also run one by one with ASE", least=1)
    batch_steps: int = setting(50, "steps of both", least=5)
    large: str | None = setting(None, "file of a large model of silicon; null makes one by EDIP in LAMMPS", file=True)
    large_atoms: int = setting(97_336, "atoms of that model", least=1000)
    large_rate: float = setting(10.0, "rate of its quench", unit="K/ps", above=0)
    scale_atoms: int = setting(1_000_000, "atoms of the largest analysis, of diamond with displacements", least=1000)
