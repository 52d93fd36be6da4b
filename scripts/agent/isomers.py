"""Reference lists for the agent that builds molecules: isomers of each formula and the lowest one, by GFN2-xTB.

    python -m scripts.agent.isomers               # -> gendesign/benchmark/cases/isomers.json
    python -m scripts.agent.isomers C3H6O C4H7N   # repeat these formulas only
Each isomer is embedded, relaxed by GFN2-xTB, and kept if the relaxed coordinates still have its bond graph. Small
formulas are listed completely. Large ones get a fixed random sample, whose molecules are mostly strained. Their lowest
isomer therefore comes from well-known stable molecules and from a search over graphs that starts from these.
Every relaxed isomer is stored in training/isomers/FORMULA.json, so that an interrupted run resumes.
"""

import json
import os
import random
import sys
import time
import warnings
from pathlib import Path
from zlib import crc32

os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore", category=FutureWarning)

from ase import Atoms  # noqa: E402
from ase.optimize import LBFGS  # noqa: E402
from rdkit import Chem, rdBase  # noqa: E402
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers  # noqa: E402
from tqdm import tqdm  # noqa: E402

from gendesign.structure.bonds import perceive  # noqa: E402
from gendesign.structure.formula import hill_formula, parse_formula  # noqa: E402
from gendesign.structure.identity import canonical_smiles, smiles  # noqa: E402
from gendesign.structure.isomers import isomers, mutated, sample_isomers  # noqa: E402
from gendesign.train.teachers.semiempirical import FAILURES, gfn2  # noqa: E402

OUT = Path("gendesign/benchmark/cases/isomers.json")
CACHE = Path("training/isomers")
SMALL = ("C3H8O", "C2H5NO", "C3H6O")  # two conformers of each isomer, because their energies are compared closely
COMPLETE = (*SMALL, "C4H7N", "C3H5NO3")
SAMPLED = ("C7H10O2", "C7H8N2O2")
SEED = 1
SAMPLE = 200  # isomers of a sample that survive relaxation
SEARCH, TOURNAMENT, PARENTS = 300, 6, 20  # relaxations of the search; mutants per relaxation; lowest isomers to mutate
FINALISTS, CONFORMERS = 10, 6  # number of lowest isomers, and of conformers of each that decide between them
FMAX, STEPS, SAVE_EVERY = 0.02, 800, 5  # eV/Angstrom; LBFGS steps; relaxations between saves
# Known stable molecules, so that the result does not depend on a search finding them.
KNOWN = {
    "C7H10O2": "OC(=O)C1=CCCCC1 OC(=O)C1CCC=CC1 OC(=O)C1CCCC=C1 COC(=O)C1=CCCC1 CC(=O)C=C(C)C(C)=O O=C1CCCCC1C=O "
    "OC=C1CCCCC1=O O=CC1=C(O)CCCC1 CC(=O)C1CCCC1=O CC(=O)C1=C(O)CCC1 CC1C(=O)CCCC1=O CC1=C(O)CCCC1=O CC1(C)CC(=O)CC1=O "
    "CC1(C)CC(=O)C=C1O O=C1CCCC(=O)CC1 O=C1CCC(=O)CCC1 CCCC1=CC(=O)OC1 CC1=C(C)C(C)OC1=O O=C1OC2CCC1CC2 O=C1CC2CCCC2O1 "
    "CCOCc1ccco1 CC(C)(O)c1ccco1 CCC1=C(O)C(=O)CC1 CC1=CC(=O)OC1(C)C CC1CC(C)=CC(=O)O1 CC1(C)CC=CC(=O)O1 "
    "CC=CC=CC(=O)OC CC=CC=CCC(=O)O CCC=CC=CC(=O)O CC(C)=CC=CC(=O)O CC1=CC(=O)CC(C)O1 CC1(C)CC(=O)C=CO1 "
    "O=C1CCC2(CC2)CO1 O=C1OCC2CCCC12 O=C(O)C12CCC(C1)C2 CC(=O)OC1=CCCC1 C=CC(=O)OCC1CC1 CCOC1=CC(=O)CC1",
    "C7H8N2O2": "Nc1ccc(C(=O)O)cc1N Nc1cccc(C(=O)O)c1N Nc1cc(N)cc(C(=O)O)c1 Nc1ccc(C(=O)O)c(N)c1 Nc1cccc(N)c1C(=O)O "
    "NNC(=O)c1ccccc1O NC(=O)c1ccc(N)cc1O NC(=O)c1cccc(N)c1O COC(=O)c1cccnc1N CCOC(=O)c1cnccn1 CCOC(=O)c1cncnc1 "
    "CNc1ncccc1C(=O)O CNC(=O)c1cccnc1O CNC(=O)c1ccc[nH]c1=O COc1ncccc1C(N)=O O=c1[nH]c(=O)c2c([nH]1)CCC2 "
    "C=CCc1c[nH]c(=O)[nH]c1=O Cc1ccc(C(N)=O)c(=O)[nH]1 CC(=O)Nc1cc[nH]c(=O)c1 CC(=O)Nc1ccc[nH]c1=O "
    "NC(=O)Nc1ccccc1O NC(=O)Nc1ccc(O)cc1 Cc1nc(N)ccc1C(=O)O Cc1cc(N)ncc1C(=O)O Cc1nc(C)nc(C(=O)O)c1 CCc1nccnc1C(=O)O "
    "COC(=O)Nc1ccncc1 COC(=O)Nc1ccccn1 O=C1NC(=O)C2=C(N1)CCC2 "
    "O=C1CNC(=O)C2=CCCN12 CN1C(=O)C=CC(C(N)=O)=C1 CCOC(=O)c1ccnnc1 "
    "O=c1cc2n(c(=O)[nH]1)CCC2 O=C1CCCc2[nH]c(=O)[nH]c21 O=C1CCCn2c1c[nH]c2=O O=C1NC(=O)C2CCC=C2N1",
    "C3H5NO3": "NC(=O)CC(=O)O COC(=O)C(N)=O CNC(=O)C(=O)O O=CNCC(=O)O CC(=O)OC(N)=O CC(=O)NC(=O)O COC(=O)NC=O",
    "C4H7N": "CCCC#N CC(C)C#N C1CC=NC1 C1C=CCN1 C1=CNCC1 CC1=NCC1 C=CC=NC",
}


class Relaxed:
    """Energies (eV) of relaxed isomers of one formula, None for those that changed their bond graph; stored on disk."""

    def __init__(self, formula: str) -> None:
        self.formula, self.path = formula, CACHE / f"{formula}.json"
        self.known: dict[str, dict] = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.unsaved = 0

    def __call__(self, key: str, conformers: int) -> float | None:
        """Lowest energy (eV) of the relaxed conformers of an isomer that keep its graph `key`, None without any."""
        if self.known.get(key, {"conformers": 0})["conformers"] < conformers:
            energies = [relaxed_energy(key, number) for number in range(conformers)]
            kept = [energy for energy in energies if energy is not None]
            entry = {"conformers": conformers, "energy": round(min(kept), 5) if kept else None}
            self.known[key] = self.known.get(key, {}) | entry
            self.unsaved += 1
            if self.unsaved >= SAVE_EVERY:
                self.save()
        return self.known[key]["energy"]

    def save(self) -> None:
        """Write all energies to disk atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.known, indent=0))
        part.replace(self.path)
        self.unsaved = 0

    def lowest(self, count: int) -> list[str]:
        """The `count` isomers of lowest energy that kept their bond graph."""
        alive = {key: entry["energy"] for key, entry in self.known.items() if entry["energy"] is not None}
        return sorted(alive, key=alive.__getitem__)[:count]


def embedded(key: str, number: int) -> Atoms | None:
    """Conformer `number` of an isomer by distance geometry and a force field; None if embedding fails.

    The second attempt, for strained cages, is plain distance geometry from random coordinates without ETKDG's
    preferences.
    """
    full = Chem.AddHs(Chem.MolFromSmiles(key))
    for settings, random_start in ((rdDistGeom.ETKDGv3(), False), (rdDistGeom.EmbedParameters(), True)):
        settings.randomSeed = crc32(f"{key}/{number}".encode()) % 2**31
        settings.useRandomCoords = random_start
        settings.maxIterations = 20
        with rdBase.BlockLogs():
            if rdDistGeom.EmbedMolecule(full, settings) == 0:
                break
    else:
        return None
    with rdBase.BlockLogs():
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.MMFFOptimizeMolecule(full, maxIters=300)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.UFFOptimizeMolecule(full, maxIters=300)
    return Atoms([atom.GetSymbol() for atom in full.GetAtoms()], full.GetConformer().GetPositions())


def relaxed_energy(key: str, number: int) -> float | None:
    """Energy (eV) of a conformer relaxed by GFN2-xTB; None if it fails or becomes another molecule."""
    atoms = embedded(key, number)
    if atoms is None:
        return None
    atoms.calc = gfn2()
    try:
        if len(atoms) > 1 and not LBFGS(atoms, logfile=None, maxstep=0.15).run(fmax=FMAX, steps=STEPS):
            return None
        energy = float(atoms.get_potential_energy())
    except FAILURES:
        return None
    perceived = perceive(Atoms(atoms.numbers, atoms.positions))
    return energy if perceived.mol is not None and smiles(perceived.mol) == key else None


def rough_energy(key: str) -> float:
    """GFN2-xTB energy (eV) at the minimum of the force field; infinite if it fails."""
    atoms = embedded(key, 0)
    if atoms is None:
        return float("inf")
    atoms.calc = gfn2()
    try:
        return float(atoms.get_potential_energy())
    except FAILURES:
        return float("inf")


def search(store: Relaxed) -> None:
    """Relax `SEARCH` mutants of the lowest isomers known so far.

    Each time, the mutant of lowest energy before relaxation among `TOURNAMENT` unseen ones is relaxed.
    """
    rng, roughly = random.Random(f"{store.formula}/{SEED}/search"), {}
    done = sum("searched" in entry for entry in store.known.values())  # by an interrupted run
    for _ in tqdm(range(done, SEARCH), initial=done, total=SEARCH, desc=f"{store.formula} search", unit="isomer"):
        parents = store.lowest(PARENTS)
        mutants: set[str] = set()
        for _ in range(100):
            new = mutated(rng.choice(parents), rng)
            if new is not None and new not in store.known:
                mutants.add(new)
            if len(mutants) == TOURNAMENT:
                break
        for key in sorted(mutants - set(roughly)):
            roughly[key] = rough_energy(key)
        # A mutant that lost stays in the list, and may be relaxed after the better ones.
        waiting = [key for key in roughly if key not in store.known]
        if waiting:
            best = min(waiting, key=roughly.__getitem__)
            store(best, 1)
            store.known[best]["searched"] = True


def sampled(store: Relaxed) -> tuple[list[str], int]:
    """`SAMPLE` random isomers that keep their graph in a relaxation, and the number of those that did not."""
    drawn = sample_isomers(store.formula, 20 * SAMPLE, SEED)
    kept: list[str] = []
    with tqdm(total=SAMPLE, desc=f"{store.formula} sample", unit="isomer") as bar:
        for count, key in enumerate(drawn, start=1):
            if store(key, 1) is not None:
                kept.append(key)
                bar.update()
            if len(kept) == SAMPLE:
                return kept, count - SAMPLE
    raise SystemExit(f"{store.formula}: only {len(kept)} of {len(drawn)} random isomers survive relaxation")


def listed(store: Relaxed) -> tuple[list[str], int]:
    """All isomers that keep their graph in a relaxation, and the number of those that do not."""
    conformers = 2 if store.formula in SMALL else 1
    keys = isomers(store.formula)
    bar = tqdm(keys, desc=f"{store.formula} complete", unit="isomer")
    kept = [key for key in bar if store(key, conformers) is not None]
    return kept, len(keys) - len(kept)


def reference(formula: str) -> dict:
    """The entry of one formula in isomers.json."""
    store = Relaxed(formula)
    complete = formula in COMPLETE
    known = [canonical_smiles(text) for text in KNOWN.get(formula, "").split()]
    for key in known:
        mol = Chem.AddHs(Chem.MolFromSmiles(key))
        if hill_formula(atom.GetSymbol() for atom in mol.GetAtoms()) != hill_formula(parse_formula(formula)):
            raise SystemExit(f"{key} is no isomer of {formula}")
    for key in tqdm(known, desc=f"{formula} known", unit="isomer"):
        store(key, 1)
    if not complete:
        search(store)
    kept, dropped = listed(store) if complete else sampled(store)
    for key in tqdm(store.lowest(FINALISTS), desc=f"{formula} lowest", unit="isomer"):
        store(key, CONFORMERS)
    store.save()
    best = store.lowest(1)[0]
    return {
        "complete": complete,
        "seed": None if complete else SEED,  # of sample_isomers
        "count": len(kept),
        "lowest_energy_eV": store.known[best]["energy"],
        "lowest_smiles": best,
        "dropped": dropped,
        "smiles": kept,
    }


def main(formulas: list[str]) -> None:
    """Write the entries of `formulas`, or of all."""
    out = json.loads(OUT.read_text()) if OUT.exists() else {}
    for formula in formulas or (*COMPLETE, *SAMPLED):
        start = time.time()
        out[formula] = reference(formula)
        OUT.write_text(json.dumps(out, indent=1) + "\n")
        facts = {name: value for name, value in out[formula].items() if name != "smiles"}
        print(formula, facts, f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
