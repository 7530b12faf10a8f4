"""Many pictures at once: which mask belongs to which picture, where results go, a run no bad file stops.

    pair_files     images and masks on disk   -> pairs, and a problem for all that has no clear partner
    plan_batch     pairs and an output folder -> jobs: no input is overwritten, no output written twice
    run_batch      jobs and a repair function -> results, one for each job
    write_record   what became of all of it   -> a file for another program

Only ``run_batch`` opens pictures. Nothing here prints or knows the network.
"""

from inpaint.batch.jobs import BatchReport, Job, JobResult, Repair, plan_batch, run_batch
from inpaint.batch.pairing import READABLE_SUFFIXES, Pair, Problem, pair_files
from inpaint.batch.record import RECORD_FORMATS, write_record

__all__ = [
    "READABLE_SUFFIXES",
    "RECORD_FORMATS",
    "BatchReport",
    "Job",
    "JobResult",
    "Pair",
    "Problem",
    "Repair",
    "pair_files",
    "plan_batch",
    "run_batch",
    "write_record",
]
