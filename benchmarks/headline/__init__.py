"""The headline in miniature: is a student with pseudo-labeled web images better than the best fair control?

    python -m benchmarks.headline base      # teacher, controls and student on eight fresh seeds
    python -m benchmarks.headline full      # every ablation and the hard worlds, three seeds each
    python -m benchmarks.headline tune      # equal numbers of tuning runs for student and control, on other seeds

Everything is a grid of cells (`cells.py`): one process with one thread each, known by the digest of its inputs, kept
under `.bench/headline`. What is done is not done again; what is missing is shown as missing. See docs/headline.md.
"""
