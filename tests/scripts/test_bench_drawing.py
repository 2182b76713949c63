"""The benchmark of drawing draws the same pictures in both ways, and counts all of the networks' calls."""

import re

import bench_drawing


def test_both_ways_draw_the_same_pictures(capsys):
    bench_drawing.main(["--pictures", "5", "--batch-size", "4", "--repeats", "1", "--steps", "4"])
    told = capsys.readouterr().out
    assert int(re.search(r"furthest grey (\d+)", told)[1]) <= 1
    # Two batches of three steps each.
    assert "UNet: 6 calls" in told and "VDVAE: 5 calls" in told
    shares = [
        float(share) for share in re.search(r"outside of networks: (.+)% of the processor.*, (.+)% of", told).groups()
    ]
    assert all(0 < share < 100 for share in shares)
    assert float(re.search(r"([\d.]+) GFLOP a picture", told)[1]) > 1
