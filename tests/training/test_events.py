"""Events of a run are found again in its folder by their names."""

from tunesmith.core.progress import Event, Notice
from tunesmith.training import events

NAMES = {
    "Planned": "planned",
    "StepDone": "stepdone",
    "HeldOut": "heldout",
    "Saved": "saved",
    "BestCheckpoint": "bestcheckpoint",
    "ScaledDown": "weakened",
    "Ended": "ended",
}


def test_what_events_are_called_on_disk_stays_whatever_their_classes_are_called():
    kinds = [each for each in vars(events).values() if isinstance(each, type) and each is not Event]
    assert {each.__name__: each.name for each in kinds} == NAMES
    assert Notice.name == "notice"
