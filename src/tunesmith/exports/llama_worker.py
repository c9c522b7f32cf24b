"""Runs a GGUF file in llama.cpp: a script for a Python that has llama-cpp-python.

Usage: python llama_worker.py JOB ANSWER. JOB is a JSON file; the results are written to ANSWER,
also JSON, and to the .npy file that the job names. Nothing else of the project is imported, so that
any Python with llama-cpp-python and numpy can run it.
"""

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


def quantize(job: dict[str, Any]) -> dict[str, Any]:
    """Convert a GGUF file to another number format with llama.cpp's own quantizer."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{job['type']}")
    params.nthread = job["threads"]
    source, target = job["source"].encode(), job["target"].encode()
    status = llama_cpp.llama_model_quantize(source, target, ctypes.byref(params))
    return {"status": int(status)}


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Template, prompts as rendered and tokenized here, greedy answers, logits after each prompt.

    The logits [K, V] of K prompts go into the job's ``logits`` file in fp32.
    """
    model = llama_cpp.Llama(
        model_path=job["model"],
        lora_path=job["adapter"],
        n_ctx=job["context"],
        n_batch=job["context"],
        n_threads=job["threads"],
        n_threads_batch=job["threads"],
        n_gpu_layers=0,
        verbose=False,
    )
    template = llama_cpp.llama_model_chat_template(model.model, None)
    text = None if template is None else template.decode("utf-8")
    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    rows = [_row(model, text, prompt, job) for prompt in job["prompts"]]
    np.save(job["logits"], np.stack([row.pop("logits") for row in rows]))
    ends = [bool(llama_cpp.llama_vocab_is_eog(vocabulary, i)) for i in job["stop_ids"]]
    return {"version": llama_cpp.__version__, "template": text, "rows": rows, "ends": ends}


def _row(
    model: Any, template: str | None, prompt: dict[str, Any], job: dict[str, Any]
) -> dict[str, Any]:
    cut = model.tokenize(prompt["text"].encode("utf-8"), add_bos=False, special=True)
    model.reset()
    model.eval(prompt["ids"])
    scores = _logits(model)
    first, made = scores.copy(), []
    while (token := int(scores.argmax())) not in job["stop_ids"]:
        made.append(token)
        if len(made) == job["tokens"]:
            break
        model.eval([token])
        scores = _logits(model)
    rendered = _rendered(model, template, prompt["messages"])
    return {"ids": cut, "answer": made, "logits": first, **rendered}


def _logits(model: Any) -> np.ndarray:
    """Of the last token that was read, fp32 [V]."""
    pointer = llama_cpp.llama_get_logits_ith(model.ctx, -1)
    return np.ctypeslib.as_array(pointer, shape=(model.n_vocab(),))


def _rendered(model: Any, template: str | None, messages: list[dict[str, str]]) -> dict[str, Any]:
    """The prompt that the file's template writes, by llama-cpp-python's own engine."""
    if template is None:
        return {"rendered": None, "failure": "the file has no chat template"}
    pieces = [
        "" if i < 0 else model.detokenize([i], special=True).decode("utf-8", errors="replace")
        for i in (model.token_eos(), model.token_bos())
    ]
    try:
        prompt = Jinja2ChatFormatter(template, *pieces)(messages=messages).prompt
    except Exception as error:  # a template is a program that others wrote
        return {"rendered": None, "failure": f"{type(error).__name__}: {error}"}
    return {"rendered": prompt, "failure": None}


def main(job_path: str, answer_path: str) -> None:
    """Do one job."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    done = {"quantize": quantize, "answer": answer}[job["do"]](job)
    Path(answer_path).write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
