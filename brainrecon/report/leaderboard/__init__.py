"""Leaderboards: the tables of a benchmark.

Four words are used for its parts, from small to large:

    Cell    the scores of one method, on one subject and region, under one protocol
    Entry   the cells of one method over all subjects: a row of a table
    Block   the entries of one region, best first: a table
    Board   the blocks of one protocol, its judges and one dataset: everything in it compares
"""
