"""A small copy of ds004496, written from its published description without the toolkit."""

import numpy as np
from cifti_writing import cortex, save_labels, save_scalars
from PIL import Image

AREAS = {1: "L_V1_ROI", 2: "L_V2_ROI", 3: "L_FFC_ROI", 181: "R_V1_ROI", 182: "R_V2_ROI", 183: "R_FFC_ROI"}


class Nod:
    """One subject, and what was put into its files.

    `sessions` is session -> numbers of its runs; `late` the sessions whose onsets count the blank; `headless` those whose events
    have a head alone.
    """

    def __init__(
        self,
        root,
        seed=0,
        subject="sub-01",
        sessions=None,
        per_run=12,
        n_coco=6,
        late=("imagenet02",),
        headless=(),
        dtype="<f4",
        pictures=True,
        side=(26, 22),
        labels=True,
        atlas=True,
    ):
        self.root, self.rng, self.subject, self.side = root, np.random.default_rng(seed), subject, side
        self.sessions = sessions or {"imagenet01": (1, 2), "imagenet02": (1, 3), "coco": (1, 2, 10)}
        self.per_run, self.late, self.headless, self.dtype = per_run, late, headless, dtype
        self.axis, self.masks = cortex(self.rng)
        synsets = [f"n{number:08d}" for number in self.rng.choice(90_000, 8, replace=False) + 1_440_764]
        self.coco = [f"{number:012d}" for number in self.rng.choice(500_000, n_coco, replace=False)]
        self.synsets, self.trials, self.betas, self.onsets, self.shown = synsets, [], {}, {}, set()
        for session, runs in self.sessions.items():
            for run in runs:
                (self.write_coco if session == "coco" else self.write_imagenet)(session, run, labels)
        if pictures:
            self.write_pictures()
        if atlas:
            self.write_atlas()

    def folder(self, session, run):
        name = f"ses-{session}_task-{session.rstrip('0123456789')}_run-{run}"
        return self.root / "derivatives" / "ciftify" / self.subject / "results" / name

    def events_file(self, session, run):
        task = session.rstrip("0123456789")
        name = f"{self.subject}_ses-{session}_task-{task}_run-{run:02d}_events.tsv"
        return self.root / self.subject / f"ses-{session}" / "func" / name

    def write_imagenet(self, session, run, labels):
        names = []
        while len(names) < self.per_run:
            name = f"{self.rng.choice(self.synsets)}_{self.rng.integers(10, 99_999)}"
            if name not in self.shown:
                names.append(name)
                self.shown.add(name)
        responses = self.rng.random() < 0.5
        head = ["onset", "duration", "trial_type", *(["response"] if responses else []), "response_time", "stim_file"]
        start, rows = 16.0 if session in self.late else 0.0, []
        for number, name in enumerate(names):
            synset = name.split("_")[0]
            own = [f"{start + 4 * number:.3f}", "1", str(self.synsets.index(synset) + 1)]
            rows.append([*own, *(["-1"] if responses else []), "0.6", f"imagenet/{synset}/{name}.JPEG"])
        self.write_events(session, run, head, rows)
        self.onsets[session, run] = [16.0 + 4 * number for number in range(len(names))]
        self.write_run(session, run, [f"{name}.JPEG" for name in names], names, labels)

    def write_coco(self, session, run, labels):
        head = ["onset", "duration", "trial_type", "response", "response_time", "condition"]
        order = [int(place) for place in self.rng.permutation([*range(len(self.coco)), *[-1] * 3])]
        start, rows, onsets = 16.0 if session in self.late else 0.0, [], []
        for number, place in enumerate(order):
            # The first row shows a picture in half of the copies, and in the others the fixation point changes before it.
            shown = ["2000", "n/a"] if place < 0 else [str(place + 1), f"coco/{self.coco[place]}.jpg"]
            rows.append([f"{start + 3 * number:.1f}", "0.5", shown[0], "1", "0.5", shown[1]])
            onsets += [] if place < 0 else [(place, 16.0 + 3 * number)]
        self.write_events(session, run, head, rows)
        self.onsets[session, run] = [onset for _, onset in onsets]
        self.write_run(session, run, [f"{name}.jpg" for name in self.coco], self.coco, labels)

    def write_events(self, session, run, head, rows):
        file = self.events_file(session, run)
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [] if session in self.headless else rows
        file.write_text("\n".join("\t".join(row) for row in [head, *rows]) + "\n")

    def write_run(self, session, run, written, names, labels, values=None):
        folder = self.folder(session, run)
        values = self.rng.normal(size=(len(names), len(self.axis))) if values is None else values
        values = np.asarray(values, dtype=np.float32)
        save_scalars(folder / f"{folder.name}_beta.dscalar.nii", values, written, self.axis, self.dtype)
        if labels:
            (folder / f"{folder.name}_label.txt").write_text("".join(f"{name}\n" for name in written))
        self.trials += [(session, run, name, row) for row, name in enumerate(names)]
        self.betas[session, run] = values

    def picture(self):
        base = self.rng.integers(0, 256, (4, 3, 3), dtype=np.uint8)
        return np.asarray(Image.fromarray(base).resize(self.side[::-1]))

    def write_pictures(self, tasks=("imagenet", "coco")):
        self.pictures = {}
        for session, _, name, _ in self.trials:
            task = session.rstrip("0123456789")
            if task in tasks and name not in self.pictures:
                self.pictures[name] = self.picture()
                Image.fromarray(self.pictures[name]).save(self.place_of(name), quality=95)

    def place_of(self, name):
        synset = name.split("_")[0] if name.startswith("n") else ""
        place = self.root / "stimuli" / (f"imagenet/{synset}/{name}.JPEG" if synset else f"coco/{name}.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def write_atlas(self):
        """An atlas of all vertices of both hemispheres in another order than the betas: the right one first."""
        from nibabel.cifti2 import BrainModelAxis

        parts, self.keys = [], {}
        for side, first in (("RIGHT", 181), ("LEFT", 1)):
            keys = self.rng.integers(0, 4, 24)
            keys[0] = 1
            self.keys[side] = np.where(keys, keys + first - 1, 0)
            parts.append(BrainModelAxis.from_mask(np.ones(24, bool), name=f"CORTEX_{side}"))
        file = self.root / "rois" / "glasser.dlabel.nii"
        save_labels(file, np.concatenate([self.keys["RIGHT"], self.keys["LEFT"]]), AREAS, parts[0] + parts[1])

    def area(self, name):
        """Places of the betas in an area, bool (n_places,)."""
        wanted = [key for key, told in AREAS.items() if told[2:] == f"{name}_ROI"]
        return np.concatenate(
            [np.isin(self.keys[side][mask], wanted) for side, mask in zip(("LEFT", "RIGHT"), self.masks)]
        )

    def expected(self, task):
        """Rows of betas of a task's trials, their names, sessions and runs, in order."""
        own = [trial for trial in self.trials if trial[0].startswith(task)]
        values = np.stack([self.betas[session, run][row] for session, run, _, row in own])
        return values, [name for _, _, name, _ in own], [session for session, *_ in own], [run for _, run, *_ in own]


def stand_in(folder, study, n_train=150, n_test=20, repeats=3):
    """A simulated subject as one of NOD: pictures of ImageNet in three runs, those of COCO in each of three more."""
    from nibabel.cifti2 import BrainModelAxis

    half = study.n_voxels // 2
    masks = [np.ones(half, bool), np.ones(study.n_voxels - half, bool)]
    written = Nod(folder / "ds004496", sessions={"imagenet01": ()}, n_coco=n_test, pictures=False, atlas=False)
    sides = [BrainModelAxis.from_mask(mask, name=f"CORTEX_{side}") for mask, side in zip(masks, ("LEFT", "RIGHT"))]
    written.axis = sides[0] + sides[1]
    names = [f"{written.synsets[row % 8]}_{row}" for row in range(n_train)]
    values = study.responses("train", n_train)[:, 0]
    for run, own in enumerate(np.array_split(np.arange(n_train), 3), start=1):
        own_names = [names[row] for row in own]
        rows = [[f"{4 * at}", "1", "1", f"imagenet/{name[:9]}/{name}.JPEG"] for at, name in enumerate(own_names)]
        written.write_events("imagenet01", run, ["onset", "duration", "trial_type", "stim_file"], rows)
        written.write_run("imagenet01", run, [f"{name}.JPEG" for name in own_names], own_names, True, values[own])
    tested = study.responses("test", n_test, repeats)
    for run in range(1, repeats + 1):
        shown = [f"{name}.jpg" for name in written.coco]
        written.write_run("coco", run, shown, written.coco, True, tested[:, run - 1])
    for split, own_names in (("train", names), ("test", written.coco)):
        for name, picture in zip(own_names, study.pictures(split, len(own_names))):
            Image.fromarray(picture).save(written.place_of(name), quality=95)
    return written.root
