"""Hydrogens that are added from the page: which atoms stay, and what refers to them."""

import asyncio

import numpy as np
from ase.build import molecule

from gendesign.view.session import Session
from gendesign.view.structures import to_json
from gendesign.view.tools import hydrogenate

METHANOL = molecule("CH3OH")  # C O H H H H


def test_atoms_that_stay_come_first_in_their_order():
    atoms = METHANOL[[2, 0, 1, 3]]  # H C O H: two hydrogens lack
    content = hydrogenate(to_json(atoms), [2])  # at the oxygen alone
    kept = content["kept"]
    assert kept[:3] == [0, 1, 2] and content["numbers"][:3] == [1, 6, 8]
    assert np.allclose(np.array(content["positions"])[: len(kept)], atoms.positions[kept], atol=1e-3)


def test_fixed_atoms_and_attachments_keep_their_atoms(tmp_path):
    atoms = METHANOL[[2, 0, 1]]  # H C O

    async def run():
        session = Session(tmp_path, [], [])

        async def call(function, **arguments):
            return hydrogenate(arguments["structure"], arguments["chosen"])

        session.warm.call = call
        session.add([to_json(atoms)])
        (row,) = session.scene.content["structures"]
        session.scene.change({"structures": [{**row, "fixed": [1, 2], "attachments": [0]}]})
        await session.hydrogenate(0, [2])
        return session.scene.content["structures"][0], session.store

    row, store = asyncio.run(run())
    numbers = store.get(row["file"])["numbers"]
    assert [numbers[k] for k in row["fixed"]] == [6, 8] and [numbers[k] for k in row["attachments"]] == [1]
    assert sorted(numbers) == [1, 1, 6, 8]
