"""A benchmark on the screen: the methods' scores, and what remains of each above its controls; the pages hold the rest."""

from brainrecon.cli.console import numbers, say, tell
from brainrecon.report.leaderboard.tables import board_title, notes_of
from brainrecon.report.leaderboard.text import unit_of
from brainrecon.report.names import mean_text


def show_boards(leaderboard):
    """Print each board: a row per score, a column per method, best first, in blocks by region; then a sentence per method.

    Parameters
    ----------
    leaderboard : brainrecon.report.leaderboard.leaderboard.Leaderboard
    """
    for text in notes_of(leaderboard):
        tell(text)
    for board in leaderboard.boards:
        say(board_title(board))
        if board.simulated:
            say("SIMULATED RESPONSES: no brain was measured for these scores.")
        say()
        for block in board.blocks:
            numbers((block.roi, *(entry.method for entry in block.entries)), _rows(block, board))
            say()
            for entry in block.entries:
                tell(entry.sentence)
            say()
        for note in board.notes:
            tell(note)


def _rows(block, board):
    rows = [("subjects", *(len(entry.cells) for entry in block.entries))]
    for name, spec in board.metrics.items():
        unit = unit_of(spec, "%")
        found = [entry.means[entry.reference].get(name) for entry in block.entries]
        cells = [mean_text(mean, spec.metric) for mean in found]
        rows.append((f"{spec.label} ({unit})" if unit else spec.label, *cells))
    return rows
