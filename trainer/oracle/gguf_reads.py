"""Whether GGUF files say what exports for transformers do: `python gguf_reads.py ARCHITECTURE GGUF FOLDER`, exit code 0 if so.

Names of tensors are mapped by the tables of the gguf package, which llama.cpp's own converter uses, and numbers are held against those of
FOLDER/model.safetensors. What the converter does to a tensor on its way is done here too: it turns the rows of Llama's queries and keys.
For Llama the file is loaded by transformers besides, where accelerate is installed, which that needs, and its logits are compared.
Prints the keys as JSON.
"""

import importlib.util
import json
import sys

import gguf
import numpy
import torch
from safetensors.torch import load_file

architecture, path, folder = sys.argv[1:]
config = json.load(open(f"{folder}/config.json"))
reader = gguf.GGUFReader(path)
keys = {}
for name, field in reader.fields.items():
    if not name.startswith("GGUF."):
        keys[name] = field.contents()
assert keys["general.architecture"] == architecture, keys["general.architecture"]
arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
names = gguf.get_tensor_name_map(arch, keys[f"{architecture}.block_count"])
allowed = {gguf.TENSOR_NAMES[tensor] for tensor in gguf.MODEL_TENSORS[arch]}


def turned(numbers, heads):
    """As LlamaModel.permute of convert_hf_to_gguf.py."""
    rows, columns = numbers.shape
    return numbers.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


expected = {}
for name, tensor in load_file(f"{folder}/model.safetensors").items():
    numbers = tensor.float().numpy()
    if architecture == "llama" and ".q_proj." in name:
        numbers = turned(numbers, config["num_attention_heads"])
    if architecture == "llama" and ".k_proj." in name:
        numbers = turned(numbers, config["num_key_value_heads"])
    mapped = names.get_name(name, try_suffixes=(".weight",))
    assert mapped, name
    expected[mapped] = numbers
found, kinds = {}, {}
for tensor in reader.tensors:
    base = tensor.name.removesuffix(".weight")
    pattern = ".".join("{bid}" if part.isdigit() else part for part in base.split("."))
    assert pattern in allowed, tensor.name
    kinds[tensor.name] = tensor.tensor_type
    found[tensor.name] = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
assert sorted(found) == sorted(expected), sorted(set(found) ^ set(expected))
for name, numbers in expected.items():
    assert found[name].shape == numbers.shape, (name, found[name].shape, numbers.shape)
    if kinds[name] == gguf.GGMLQuantizationType.BF16:
        numbers = torch.from_numpy(numbers).to(torch.bfloat16).float().numpy()
    assert numpy.array_equal(found[name], numbers), name

if architecture == "llama" and importlib.util.find_spec("accelerate") and keys["general.file_type"] == 0:
    import os

    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    read = transformers.AutoModelForCausalLM.from_pretrained(os.path.dirname(path), gguf_file=os.path.basename(path), dtype=torch.float32)
    same = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.arange(1, 20)[None]
    with torch.no_grad():
        apart = (read(ids).logits - same(ids).logits).abs().max().item()
    assert apart < 1e-4, apart
json.dump(keys, sys.stdout, default=str)
