"""What transformers makes of exported folders: `python transformers_reads.py FOLDER... < REQUEST > ANSWER`.

The request is {"ids": [...], "tokens": N, "text": "..."}. The answer has for each folder the class, the logits at every position of
ids, N tokens more taken greedily, the ids of the text, the names of the special tokens, and a digest of its tensors rounded to
bfloat16 by torch.
"""

import hashlib
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
request = json.load(sys.stdin)
ids = torch.tensor([request["ids"]])
answers = []
for folder in sys.argv[1:]:
    # A missing or unexpected tensor is an error here and only a warning there.
    model, told = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
    wrong = {key: sorted(map(str, value)) for key, value in told.items() if value and key != "error_msgs"}
    assert not wrong and not told.get("error_msgs"), (folder, told)
    model.eval()
    with torch.no_grad():
        logits = model(ids).logits[0].float()
        more = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=request["tokens"], do_sample=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.to(torch.bfloat16).view(torch.int16).numpy().tobytes())
    tokenizer.save_pretrained(folder + "-saved")
    model.save_pretrained(folder + "-saved")
    dialogue = [{"role": role, "content": text} for role, text in request["dialogue"]]
    written = [
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) if tokenizer.chat_template else None
        for turns in (dialogue, dialogue[1:])
    ]
    answers.append(
        {
            "class": type(model).__name__,
            "dtype": str(model.dtype),
            "logits": logits.tolist(),
            "more": more[0, ids.shape[1] :].tolist(),
            "ids": tokenizer(request["text"]).input_ids,
            "text": tokenizer.decode(request["ids"]),
            "end": [tokenizer.eos_token, tokenizer.eos_token_id, model.generation_config.eos_token_id],
            "context": tokenizer.model_max_length,
            "dialogues": written,
            "bf16": digest.hexdigest(),
        }
    )
json.dump(answers, sys.stdout)
