"""Many images at once: which mask belongs to which image, where results go, a run no bad file stops.

    pair_files     images and masks on disk    -> pairs, and a problem for all that has no clear partner
    plan_batch     pairs and an output folder  -> jobs: no input is overwritten, no output written twice
    run_batch      jobs and an inpaint function -> results, one for each job
    write_record   what became of all of it    -> a file for another program

Only ``run_batch`` opens images. Nothing here prints or knows the network.
"""

from inpaint.batch.pairing import READABLE_SUFFIXES, Pair, Problem, pair_files
from inpaint.batch.plan import Job, claim_folder, plan_batch
from inpaint.batch.record import RECORD_FORMATS, report_rows, result_row, write_record
from inpaint.batch.run import BatchReport, FileOptions, Inpaint, JobResult, run_batch

__all__ = [
    "READABLE_SUFFIXES",
    "RECORD_FORMATS",
    "BatchReport",
    "FileOptions",
    "Inpaint",
    "Job",
    "JobResult",
    "Pair",
    "Problem",
    "claim_folder",
    "pair_files",
    "plan_batch",
    "report_rows",
    "result_row",
    "run_batch",
    "write_record",
]
