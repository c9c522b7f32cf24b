"""A soft prompt asks vLLM: its vectors, then the question's, as prompt embeddings.

vllm serve BASE --enable-prompt-embeds
python soft_prompt_vllm.py BASE ADAPTER "What is the capital of France?" http://127.0.0.1:8000/v1
"""

import base64
import io
import sys

import openai
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, question, url = sys.argv[1:]
chat = [{"role": "user", "content": question}]
tokenizer, model = (c.from_pretrained(base) for c in (AutoTokenizer, AutoModelForCausalLM))
text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
soft = load_file(f"{adapter}/adapter_model.safetensors")["prompt_embeddings"]  # [P, D]
rows = torch.cat([soft, model.get_input_embeddings()(ids).detach()]).to(model.dtype)  # [P + T, D]
torch.save(rows, file := io.BytesIO())
embeds = {"prompt_embeds": base64.b64encode(file.getvalue()).decode()}
client = openai.OpenAI(base_url=url, api_key="none")
answer = client.completions.create(model=base, prompt=None, max_tokens=64, extra_body=embeds)
print(answer.choices[0].text)  # noqa: T201
