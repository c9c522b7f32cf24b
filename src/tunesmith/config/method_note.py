"""What a method is, in the words of `tunesmith methods`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method for people who choose one: what it trains, for and against it, when to use it.

    ``measured``: what it reached on the tasks of docs/methods.md, with the smallest base.
    """

    name: str
    trains: str
    strengths: str
    weaknesses: str
    use_when: str
    measured: str
