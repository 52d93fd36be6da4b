"""Settings as dataclass fields: bounds, allowed words and what they say."""

import math
from dataclasses import dataclass

import pytest

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting, settings_of
from gendesign.randomness import Purpose, stream


@dataclass(frozen=True)
class Example:
    size: int | str = setting("auto", "atoms", least=1, most=9)
    fmax: float = setting(0.05, "largest force", unit="eV/Angstrom", above=0)
    kind: str = setting("a", "kind", allowed=("a", "b"))
    cell: tuple[float, ...] = setting((1.0, 2.0), "cell", unit="Angstrom", least=0)
    count: int = setting(1, "whole number", least=1)
    shift: float = setting(0.0, "any number")
    wall: float = setting(math.inf, "any number or none", infinite=True)
    device: str = setting("cuda:0", "device", allowed=("cpu", "cuda:N"))
    other: int = 3

    def __post_init__(self) -> None:
        check_bounds(self, "part")


def test_fields_keep_what_they_are_given():
    assert list(settings_of(Example))[:4] == ["size", "fmax", "kind", "cell"]
    assert settings_of(Example)["fmax"].unit == "eV/Angstrom"
    assert Example(size=9, cell=(0,), kind="b", other=-1).size == 9 and Example(size="5-12").size == "5-12"
    assert Example(fmax=None).fmax is None  # whether it may be null is a matter of the type


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"size": 0}, "part.size=0: give a number from 1 to 9"),
        ({"fmax": "x"}, "part.fmax=x: give a number above 0, eV/Angstrom"),
        ({"fmax": 0.0}, "part.fmax=0.0: give a number above 0, eV/Angstrom"),
        ({"fmax": math.nan}, "part.fmax=nan: give a number above 0, eV/Angstrom"),
        ({"kind": "c"}, "part.kind=c: allowed are a, b"),
        ({"cell": [1, -2]}, "part.cell=[1,-2]: give a number of 0 or more, Angstrom"),
        ({"count": 1.5}, "part.count=1.5: give a whole number of 1 or more"),
        ({"shift": math.inf}, "part.shift=inf: give a finite number"),
        ({"device": "cuda:x"}, "part.device=cuda:x: allowed are cpu, cuda:N"),
    ],
)
def test_what_is_out_of_bounds_is_one_line(given, words):
    with pytest.raises(UserError) as error:
        Example(**given)
    assert str(error.value) == words


def test_purposes_have_streams_of_their_own():
    drawn = {stream(purpose, 0, index).random() for purpose in Purpose for index in range(3)}
    assert len(drawn) == 3 * len(Purpose) and len(set(map(int, Purpose))) == len(Purpose)
    assert stream(Purpose.START, 0, 1).random() == stream(Purpose.START, 0, 1).random()
    assert stream(Purpose.START, 1).random() != stream(Purpose.START, 1, 0).random()  # numpy pads keys with zeros
