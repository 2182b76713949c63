"""A system whose networks learn from several subjects together, and then from a new one."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from brainrecon.assembly.system import System


class TogetherSystem(System):
    """Such a system; a subclass is one of them, with a name, settings and steps of its own.

    >>> TogetherSystem.many_subjects, TogetherSystem.trained
    ('together', ('decoder',))

    Attributes
    ----------
    trained : tuple of str
        Tables of its settings that say how a network is trained, each with `settled_with`, `for_pretraining` and `of_new_subject`
        as `brainrecon.assembly.many_subjects.ManySubjectsSettings` has them.
    """

    many_subjects = "together"
    trained: ClassVar[tuple[str, ...]] = ("decoder",)

    @property
    def of_new_subject(self):
        """Names of settings that concern a new subject alone: those that its trainings name."""
        return tuple(
            f"{table}.{name}" for table in self.trained for name in getattr(self.settings, table).of_new_subject
        )

    def settled_with(self, cohort):
        """Settings of which every training knows who is learned from."""
        own = {name: getattr(self.settings, name).settled_with(cohort) for name in self.trained}
        return replace(self.settings, **own)

    def settled_by(self, subject):
        """The same of one subject."""
        return self.settled_with({subject.name: subject})

    def for_pretraining(self):
        """Settings on the subjects before a new one."""
        own = {name: getattr(self.settings, name).for_pretraining() for name in self.trained}
        return replace(self.settings, **own)
