"""Checkpoints of a training that has two players: weights and Adam's moments as safetensors, the rest as JSON in the same file.

One file, so that an interruption leaves either all of a checkpoint or all of the one before.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from weights.whole_files import whole_file

FILE = "training.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def write_checkpoint(folder, players, best_weights, state):
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    folder : path
    players : dict of str to (torch.nn.Module, optimiser)
    best_weights : dict of str to tensor, or None
    state : dict
        Plain data, with an `identity`.
    """
    tensors = {f"best.{name}": value for name, value in (best_weights or {}).items()}
    for player, (network, optimiser) in players.items():
        tensors |= {f"{player}.weights.{name}": value for name, value in network.state_dict().items()}
        for name, parameter in network.named_parameters():
            moments = _adam(optimiser).state.get(parameter, {})
            tensors |= {f"{player}.{moment}.{name}": moments[moment] for moment in _MOMENTS if moment in moments}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with whole_file(Path(folder) / FILE) as partial:
        save_file(tensors, partial, metadata={"state": json.dumps(state)})


def read_checkpoint(folder, players, identity):
    """Put a checkpoint's weights and moments back.

    Parameters
    ----------
    folder, players
        As for `write_checkpoint`; the networks and optimisers are changed.
    identity : str

    Returns
    -------
    (state, best_weights) or None
        None where there is no checkpoint of this identity, or a damaged one: training then begins anew.
    """
    path = Path(folder) / FILE
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            if state["identity"] != identity:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    for player, (network, optimiser) in players.items():
        network.load_state_dict(_beginning(tensors, f"{player}.weights."))
        for name, parameter in network.named_parameters():
            moments = {moment: tensors.get(f"{player}.{moment}.{name}") for moment in _MOMENTS}
            if all(value is not None for value in moments.values()):
                # Adam counts its steps on the CPU, and in float32.
                placed = {key: value if key == "step" else value.to(parameter.device) for key, value in moments.items()}
                _adam(optimiser).state[parameter] = placed
    return state, _beginning(tensors, "best.") or None


def _adam(optimiser):
    """Torch's optimiser inside Accelerate's."""
    return getattr(optimiser, "optimizer", optimiser)


def _beginning(tensors, start):
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def remove_checkpoint(folder):
    """Forget a training that is finished."""
    (Path(folder) / FILE).unlink(missing_ok=True)
