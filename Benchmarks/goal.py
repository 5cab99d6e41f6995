"""A row of what vxgw has to reach."""

from dataclasses import dataclass


@dataclass
class Goal:
    """`must` and `aim` are limits in `unit`. `measured` is None when the cases were not run."""

    what: str
    must: float
    aim: float
    unit: str
    more_is_better: bool
    measured: float | None

    @property
    def verdict(self):
        if self.measured is None:
            return "not measured"
        reached = [self.measured >= limit if self.more_is_better else self.measured <= limit for limit in (self.must, self.aim)]
        return "aim" if all(reached) else "must" if reached[0] else "MISSED"
