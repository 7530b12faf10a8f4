"""Many images at once: which mask belongs to which image, where results go, a run no bad file stops.

    pair_files     images and masks on disk    -> pairs, and a result for all that has no clear partner
    plan_batch     pairs and an output folder  -> jobs: no input is overwritten, no output written twice
    run_batch      jobs and an inpaint function -> a report with a result for each job
    write_record   the report                  -> a file for another program

Only ``run_batch`` opens images. Nothing here prints or knows the network.
"""

from inpaint.batch.plan import READABLE_SUFFIXES, Job, Pair, claim_folder, pair_files, plan_batch
from inpaint.batch.record import RECORD_FORMATS, BatchReport, FileResult, write_record
from inpaint.batch.run import FileOptions, Inpaint, run_batch
