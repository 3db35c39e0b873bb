"""Every verb with each of its options wrong, in a folder that holds a run of model=means called `run`."""

NO_RUN = (
    "x",
    "",
    ".",
    "run/.hydra",
    "run/metrics.json",
    "no such/run",
    "\x1b[2J",
    "é",
    "a" * 300,
    "[/x]",
    "${nothing}",
)
"""Values of run= and sweep.resume= that name nothing of the kind."""

NO_NUMBER = ("0", "-1", "1.5", "x", "", "1e3", "²", "nan")
"""Values of k= and max_history=; ² is a digit to Python, but no number."""

ARGUMENTS: list[list[str]] = [
    [],
    ["x"],
    ["-m"],
    ["--nope"],
    ["--config-dir"],
    ["--config-dir=no_such_folder"],
    ["--cfg"],
    ["--cfg=nope"],
    ["--cfg=all"],
    ["--info=nope"],
    ["seed"],
    ["seed="],
    ["=1"],
    ["seed=1", "seed=a"],
    ["+seed=1"],
    ["~seed"],
    ["seed=[1]"],
    ["seed={a:1}"],
    ["seed=null"],
    ["seed=${nothing}"],
    ["seed=${oc.env:NOTHING_OF_THAT_NAME}"],
    ["name="],
    ["name=a b"],
    ["model=null"],
    ["model="],
    ["model={a:1}"],
    ["+model=svdpp"],
    ["~model"],
    ["model@nope=means"],
    ["hydra/launcher=nope"],
    ["hydra.nope=1"],
    ["hydra.mode=RUN"],
    ["paths.data_dir=null"],
    ["paths=3"],
    ["trainer=3"],
    ["plugins=no_such_module"],
    ["plugins="],
    ["plugins=a/b"],
]
"""Arguments that neither a new run nor `evaluate run=run` takes; each of the two gets every other one."""

RECOMMEND = [
    *(["user=3", f"k={value}"] for value in NO_NUMBER),
    *([f"user={value}"] for value in ("", "x", "3,x", ",", "-1", "1.5", "99999999999999999999999", "é", "[/x]")),
    *(["user=3", f"index={value}"] for value in ("", "nope", "HNSW", "IVF0,Flat", "Flat,Flat", "../x", "PQ3")),
]

TABLE: dict[str, list[list[str]]] = {
    "no verb": [["nope"], ["Train"], ["train,evaluate"], ["run=run"], ["--nope"], ["-m"], ["é"], ["\x1b[2J"]],
    "evaluate": [["evaluate", "run=run", *words] for words in ARGUMENTS[1::2]]
    + [["evaluate"], *(["evaluate", f"run={value}"] for value in NO_RUN), ["evaluate", "run=run", "-m"]],
    "recommend": [["recommend", "run=run", *words] for words in [[], *RECOMMEND]]
    + [["recommend", "user=3"], *(["recommend", "user=3", f"run={value}"] for value in NO_RUN)],
    "export": [["export", *words] for words in (
        [], ["to=m.onnx"], ["run=run"], ["run=run", "to="], ["run=run", "to=m.bin"], ["run=run", "to=no/m.onnx"],
        ["run=run", "to=m.onnx"], ["run=run", "to=m.onnx", "k=3"], ["run=nope", "to=m.onnx"])],
    "train": [["train", f"run={value}", "seed=1"] for value in NO_RUN]
    + [["train", "run=run"], ["train", "run=run", "resume=true"], ["train", "run=run", "resume=false"],
       ["train", "run=run", "resume=true", "seed=1"], ["train", "-m", "run=nope", "seed=1,2"]]
    + [["train", *words] for words in ARGUMENTS[2::2] if words not in (["-m"], ["--cfg=all"])],
    "sweep.resume": [["train", f"sweep.resume={value}"] for value in [*NO_RUN, "run"]],
    "report": [["report", *words] for words in (
        [], ["a", "b"], ["run", "baseline="], ["run", "baseline=nope"], ["run", "x=1"], ["no such folder"],
        ["run/metrics.json"], ["run/.hydra"], ["run", "-m"], ["é"])],
    "data": [["data", *words] for words in (
        ["nope"], ["list", "x"], ["prepare", "data=nope"], ["prepare", "x"], ["prepare", "data="],
        ["prepare", "data=table", "data.path=nope.csv"], ["prepare", "data=table", "data.path=run"],
        ["prepare", "data=table", "data.path=run/metrics.json"], ["prepare", "data=sequences", "data.folder=run"],
        ["prepare", "data.n_users=0"], ["prepare", "data=bandit_table", "data.path=nope.parquet"],
        *(["prepare", "sequences=new", f"max_history={value}"] for value in NO_NUMBER))],
    "completion": [["--shell-completion", *words] for words in (
        [], ["x"], ["install="], ["install=tcsh"], ["query=bash"], ["uninstall"], ["install=bash", "x"])],
}  # fmt: skip
"""Verb -> command lines."""
