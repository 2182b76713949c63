"""A small copy of BOLD5000, written from its published description without the toolkit."""

import h5py
import nibabel
import numpy as np
import scipy.io
from PIL import Image

REGIONS = [side + name for name in ("EarlyVis", "LOC", "OPA", "PPA", "RSC") for side in ("LH", "RH")]
MODEL = "TYPED-FITHRF-GLMDENOISE-RR"
AFFINE = np.array([[-2.0, 0, 0, 70], [0, 2, 0, -60], [0, 0, 2, -50], [0, 0, 0, 1]])
FOLDERS = {"imagenet": "ImageNet", "coco": "COCO", "scenes": "Scene"}
HEAD = "onset duration Subj Sess Run Trial ImgName ImgType StimOn(s) StimOff(s) Response RT stim_file".split()


class Bold5000:
    """Everything of some subjects, and what was put into it.

    Parameters
    ----------
    sessions : dict of str to list of int
        Subject to the number of runs of each of its sessions.
    parts : collection of str
        What is written: lists, events, imgnames, stim_lists, repeated, pictures, labels, regions, brain, first, masks.
    """

    def __init__(
        self,
        root,
        seed=0,
        sessions=None,
        parts=("lists", "repeated", "pictures", "regions", "masks"),
        n_repeated=6,
        per_run=5,
        dtype="<f4",
        order="C",
        side=(24, 24),
        grid=(6, 5, 4),
        first_kind="h5",
    ):
        self.root, self.rng, self.parts, self.per_run, self.dtype = (
            root,
            np.random.default_rng(seed),
            parts,
            per_run,
            dtype,
        )
        self.order, self.side, self.grid, self.first_kind = order, side, grid, first_kind
        self.sessions = sessions or {"CSI1": [3, 2, 3]}
        most = max(sum(runs) for runs in self.sessions.values()) * per_run
        names = self.draw_names(n_repeated + most)
        self.repeated, self.others = names[:n_repeated], names[n_repeated:]
        self.stimuli = root / "BOLD5000_Stimuli"
        self.shown, self.values, self.masks = {}, {}, {}
        for subject, runs in self.sessions.items():
            self.shown[subject] = self.draw_order(subject, runs)
            self.write_subject(subject)
        if "repeated" in parts:
            place = self.stimuli / "Scene_Stimuli" / "repeated_stimuli_113_list.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes("".join(f"{name}\r\n" for name in self.repeated).encode())
        self.seen = sorted({name for rows in self.shown.values() for name, *_ in rows})
        if "pictures" in parts:
            self.write_pictures()
        if "labels" in parts:
            place = self.stimuli / "Image_Labels" / "imagenet_final_labels.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            synsets = sorted({name.split("_")[0] for name in names if self.source(name) == "imagenet"})
            place.write_text("".join(f"{one} thing{one[-2:]}, second word\n" for one in synsets))

    # What is shown

    def draw_names(self, n):
        """Names of pictures from each source in turn, no two alike."""
        numbers = self.rng.choice(90_000, n, replace=False) + 10_000
        kinds = [
            lambda number: f"n{1_930_000 + number % 40:08d}_{number}.JPEG",
            lambda number: f"COCO_train2014_{number:012d}.jpg",
            lambda number: f"{('tailor', 'coralreef', 'bedroom')[number % 3]}{number}.jpg",
        ]
        return [kinds[place % 3](number) for place, number in enumerate(numbers.tolist())]

    @staticmethod
    def source(name):
        if name.startswith("COCO"):
            return "coco"
        return "imagenet" if name[0] == "n" and name[1:9].isdigit() else "scenes"

    @staticmethod
    def id_of(name):
        return name.rsplit(".", 1)[0]

    def draw_order(self, subject, runs):
        """Rows (name, session, run, whether it was shown before) of a subject, sessions and runs counted from 1."""
        n_trials = sum(runs) * self.per_run
        if subject == "CSI4":
            # One was not shown to this subject and one was shown once.
            times = {name: (0, 1, 2, 3)[min(place, 3)] for place, name in enumerate(self.repeated)}
        else:
            times = {name: int(self.rng.integers(2, 5)) for name in self.repeated}
        again = [name for name, count in times.items() for _ in range(count)]
        rest = self.rng.permutation(self.others)[: n_trials - len(again)].tolist()
        names = self.rng.permutation(again + rest).tolist()
        rows, before = [], set()
        for session, n_runs in enumerate(runs, start=1):
            for run in range(1, n_runs + 1):
                for _ in range(self.per_run):
                    name = names[len(rows)]
                    rows.append((name, session, run, name in before))
                    before.add(name)
        return rows

    def expected(self, subject, split, session=None):
        """Places among all trials of those of a split, in order."""
        return [
            place
            for place, (name, own, *_) in enumerate(self.shown[subject])
            if (name in self.repeated) == (split == "test") and session in (None, own)
        ]

    # Files

    def write_subject(self, subject):
        rows, parts = self.shown[subject], self.parts
        if "lists" in parts:
            self.write_lists(subject)
        if "events" in parts:
            self.write_events(subject)
        if "imgnames" in parts:
            self.root.mkdir(parents=True, exist_ok=True)
            (self.root / f"{subject}_imgnames.txt").write_text("".join(f"{name}\n" for name, *_ in rows))
        if "stim_lists" in parts:
            place = self.root / "ROIs" / "stim_lists" / f"CSI{int(subject[3:]):02d}_stim_lists.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("".join(f"{'rep_' * again}{name}\n" for name, *_, again in rows))
        self.masks[subject] = self.draw_masks()
        volumes = self.rng.normal(size=(*self.grid, len(rows))).astype(np.float32)
        volumes[0, 0] = np.nan
        self.values[subject] = {name: self.columns(volumes, mask) for name, mask in self.masks[subject].items()}
        self.brain = np.isfinite(volumes[..., 0])
        for part in ("regions", "brain", "first", "masks"):
            if part in parts:
                getattr(self, f"write_{part}")(subject, volumes)

    def draw_masks(self):
        """A mask for each region; voxels of the first plane's first row have no values and are in none."""
        masks = {}
        for name in REGIONS:
            mask = self.rng.random(self.grid) < 0.12
            mask[0, 0] = False
            mask[1 + len(masks) % 5, len(masks) % self.grid[1], 1:3] = True
            masks[name] = mask
        return masks

    def columns(self, volumes, mask):
        """Responses (trials, voxels) in a mask, in the order of this copy."""
        places = np.argwhere(mask) if self.order == "C" else np.argwhere(mask.T)[:, ::-1]
        return volumes[tuple(places.T)].T

    def spelling(self, subject, region):
        """As the files of some subjects are called."""
        if subject in ("CSI2", "CSI3") and region.endswith("LOC"):
            return region[:-1]
        return "RHRRSC" if subject == "CSI2" and region == "RHRSC" else region

    def write_lists(self, subject):
        folder = self.stimuli / "Stimuli_Presentation_Lists" / subject
        for session, run in sorted({row[1:3] for row in self.shown[subject]}):
            place = folder / f"{subject}_sess{session:02d}" / f"CSI_sess{session:02d}_run{run:02d}.txt"
            place.parent.mkdir(parents=True, exist_ok=True)
            own = [row for row in self.shown[subject] if row[1:3] == (session, run)]
            end = "\r\n" if run % 2 else "\n"
            place.write_bytes("".join(f"{'rep_' * again}{name}{end}" for name, *_, again in own).encode())
            scipy.io.savemat(place.with_suffix(".mat"), {"names": np.array([name for name, *_ in own], dtype=object)})

    def write_events(self, subject):
        for session, run in sorted({row[1:3] for row in self.shown[subject]}):
            stem = f"sub-{subject}_ses-{session:02d}_task-5000scenes_run-{run:02d}_events.tsv"
            place = self.root / f"sub-{subject}" / f"ses-{session:02d}" / "func" / stem
            place.parent.mkdir(parents=True, exist_ok=True)
            own, lines = [row for row in self.shown[subject] if row[1:3] == (session, run)], ["\t".join(HEAD)]
            for trial, (name, *_, again) in enumerate(own, start=1):
                start, kind = 6.04 + 10 * (trial - 1), "rep_" * again + self.source(name)
                cells = [f"{start:.4f}", "1.0008", subject[3:], session, run, trial, name, kind]
                lines.append("\t".join(map(str, [*cells, f"{start:.4f}", f"{start + 1:.4f}", 1, "1.5", name])))
            place.write_bytes("".join(f"{line}\r\n" for line in lines).encode())
            (place.parent / place.name.replace("5000scenes_run-", "localizer_run-")).write_text("onset\tduration\n")

    def region_file(self, subject, region, model=MODEL):
        name = f"{subject}_GLMbetas-{model}_allses_{self.spelling(subject, region)}.npy"
        return self.root / "BOLD5000_GLMsingle_ROI_betas" / "py" / name

    def session_file(self, subject, session, model=MODEL):
        return self.root / f"{subject}_GLMbetas-{model}_ses-{session:02d}.nii.gz"

    def mask_file(self, subject, region):
        name = f"sub-{subject}_mask-{self.spelling(subject, region)}.nii.gz"
        return self.root / "derivatives" / "spm" / f"sub-{subject}" / name

    def first_file(self, subject, volume="TR34"):
        return self.root / "ROIs" / subject / self.first_kind / f"{subject}_ROIs_{volume}.{self.first_kind}"

    def write_regions(self, subject, volumes):
        for region, values in self.values[subject].items():
            place = self.region_file(subject, region)
            place.parent.mkdir(parents=True, exist_ok=True)
            np.save(place, values.astype(self.dtype))

    def write_brain(self, subject, volumes):
        for session in {row[1] for row in self.shown[subject]}:
            own = [place for place, row in enumerate(self.shown[subject]) if row[1] == session]
            # What these files say of their place is not what the masks say.
            nibabel.save(
                nibabel.Nifti1Image(volumes[..., own], np.diag([2.0, 2, 2, 1])), self.session_file(subject, session)
            )

    def write_first(self, subject, volumes):
        place = self.first_file(subject)
        place.parent.mkdir(parents=True, exist_ok=True)
        content = {self.spelling(subject, name): values.astype(float) for name, values in self.values[subject].items()}
        if self.first_kind == "mat":
            scipy.io.savemat(place, content)
        else:
            with h5py.File(place, "w") as file:
                for name, values in content.items():
                    file[name] = values

    def write_masks(self, subject, volumes):
        for region, mask in self.masks[subject].items():
            place = self.mask_file(subject, region)
            place.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), AFFINE), place)

    def write_pictures(self):
        """Those that were seen, each in the folder of its source; some of COCO without the prefix, some endings in capitals."""
        self.pictures = {}
        for place, name in enumerate(self.seen):
            base = self.rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
            self.pictures[self.id_of(name)] = picture = np.asarray(Image.fromarray(base).resize(self.side[::-1]))
            stem, ending = name.rsplit(".", 1)
            if stem.startswith("COCO") and place % 2:
                stem = stem.removeprefix("COCO_train2014_")
            ending = ending.swapcase() if place % 5 == 0 else ending
            file = self.picture_folder / FOLDERS[self.source(name)] / f"{stem}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file, format="JPEG", quality=95)

    @property
    def picture_folder(self):
        return self.stimuli / "Scene_Stimuli" / "Presented_Stimuli"

    def all_values(self, subject):
        """Responses in all regions, one after the other, float32."""
        return np.concatenate([self.values[subject][name] for name in REGIONS], axis=1)


def write_stand_in(folder, study, n_train=150, n_test=20, repeats=3, per_run=30):
    """Pictures and responses of a simulated subject as release 2's betas in regions; the path."""
    trials = [("train", place, 0) for place in range(n_train)]
    trials += [("test", place, again) for again in range(repeats) for place in range(n_test)]
    rng = np.random.default_rng(3)
    trials = [trials[place] for place in rng.permutation(len(trials))]
    responses = {"train": study.responses("train", n_train), "test": study.responses("test", n_test, repeats)}
    values = np.stack([responses[split][place, again] for split, place, again in trials])
    names = {
        ("train", place): f"n{2_000_000 + place % 7:08d}_{place}.JPEG" if place % 2 else f"harbour{place}.jpg"
        for place in range(n_train)
    } | {("test", place): f"COCO_train2014_{place + 500:012d}.jpg" for place in range(n_test)}
    lists, seen = folder / "BOLD5000_Stimuli" / "Stimuli_Presentation_Lists" / "CSI1", set()
    for start in range(0, len(trials), per_run):
        session, run = start // per_run // 4 + 1, start // per_run % 4 + 1
        place = lists / f"CSI1_sess{session:02d}" / f"CSI_sess{session:02d}_run{run:02d}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for split, number, _ in trials[start : start + per_run]:
            name = names[split, number]
            lines.append(f"{'rep_' * (name in seen)}{name}\r\n")
            seen.add(name)
        place.write_bytes("".join(lines).encode())
    for split, n in (("train", n_train), ("test", n_test)):
        for number, picture in enumerate(study.pictures(split, n)):
            name = names[split, number]
            place = (
                folder
                / "BOLD5000_Stimuli"
                / "Scene_Stimuli"
                / "Presented_Stimuli"
                / FOLDERS[Bold5000.source(name)]
                / name
            )
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place, format="JPEG", quality=95)
    listed = folder / "BOLD5000_Stimuli" / "Scene_Stimuli" / "repeated_stimuli_113_list.txt"
    listed.write_text("".join(f"{names['test', number]}\n" for number in range(n_test)))
    betas = folder / "BOLD5000_GLMsingle_ROI_betas" / "py"
    betas.mkdir(parents=True)
    for region, columns in zip(REGIONS, np.array_split(np.arange(values.shape[1]), len(REGIONS))):
        np.save(betas / f"CSI1_GLMbetas-{MODEL}_allses_{region}.npy", values[:, columns])
    return folder
