"""``build_plan``: the one place where the rules meet. Pure: a position, a market, a bundle, a moment -> what to do.

Order within a plan: EXIT, RISK_DOWNGRADE, STOP_MOVE, TP_PARTIAL, ADD (CONTRACT §6). An EXIT stands alone, and a
RISK_DOWNGRADE forbids an ADD. The first action that needs S4 becomes an operation; the plan is made afresh after it.
"""

from s6.plan.action import Action, Plan
from s6.plan.build import build_plan

__all__ = ["Action", "Plan", "build_plan"]
