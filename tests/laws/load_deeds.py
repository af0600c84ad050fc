"""All that is done with a session, and how often."""

from laws.load_bad import asks_what_is_refused
from laws.load_life import (
    asks_for_much_at_once,
    resets,
    sends_again,
    sends_twice_at_once,
    steps_alone,
    steps_in_a_hurry,
)
from laws.load_talks import (
    generates,
    generates_alone,
    generates_from_a_fork,
    is_busy_while_it_generates,
)
from laws.load_visits import (
    goes_through_a_breaking_connection,
    loses_its_client,
    moves_to_a_copy,
)

DEEDS = {
    steps_alone: 30,
    steps_in_a_hurry: 6,
    asks_for_much_at_once: 24,
    resets: 5,
    sends_again: 8,
    sends_twice_at_once: 5,
    generates: 9,
    generates_from_a_fork: 2,
    generates_alone: 3,
    is_busy_while_it_generates: 3,
    goes_through_a_breaking_connection: 8,
    loses_its_client: 3,
    moves_to_a_copy: 4,
    asks_what_is_refused: 6,
}
