"""An engine on the test's own thread."""

from __future__ import annotations

from engine.cache.latent_pool import page_count
from engine.cache.prefix_tree import PrefixTree
from engine.model.deepseek import Model
from engine.runtime.engine import Engine, TextEnds
from engine.runtime.runner import Runner
from engine.scheduler.scheduler import Scheduler, SchedulerLimits
from engine.speculation.base import NewDrafter


def engine_of(
    model: Model,
    text: TextEnds,
    context: int,
    new_drafter: NewDrafter | None = None,
    tree: PrefixTree | None = None,
    limits: SchedulerLimits | None = None,
) -> Engine:
    """With nothing cached; room for eight sequences if no ``tree`` says otherwise."""
    tree = tree or PrefixTree(model.new_pool(8 * page_count(context)))
    return Engine(Runner(model), text, context, Scheduler(tree, limits), new_drafter)
