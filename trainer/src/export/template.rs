//! How dialogues are written down, as the Jinja template that `transformers` and `llama.cpp` render them by.

use andromeda_format::ChatFormat;

/// The template of a format: an end of text, as before every document, then the turns, each answer with what ends it.
pub(super) const fn template(format: ChatFormat) -> &'static str {
    match format {
        ChatFormat::HumanAssistant => {
            "{{ bos_token }}{% for message in messages %}\
             {% if message['role'] == 'system' %}{{ message['content'] }}\
             {% elif message['role'] == 'user' %}{{ '\n\nHuman: ' + message['content'] }}\
             {% else %}{{ '\n\nAssistant: ' + message['content'] + eos_token }}{% endif %}{% endfor %}\
             {% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
        }
        ChatFormat::Alpaca => {
            "{{ bos_token }}{% for message in messages %}\
             {% if message['role'] == 'system' %}{{ message['content'] + '\n\n### Instruction:\n' }}\
             {% elif message['role'] == 'user' %}\
             {% if loop.first %}{{ 'Below is an instruction that describes a task. \
             Write a response that appropriately completes the request.\n\n### Instruction:\n' }}\
             {% elif loop.previtem['role'] != 'system' %}{{ '\n\n### Instruction:\n' }}{% endif %}{{ message['content'] }}\
             {% else %}{{ '\n\n### Response:\n' + message['content'] + eos_token }}{% endif %}{% endfor %}\
             {% if add_generation_prompt %}{{ '\n\n### Response:\n' }}{% endif %}"
        }
        ChatFormat::Llama2 => {
            "{{ bos_token }}{% for message in messages %}\
             {% if message['role'] == 'system' %}{{ '[INST] <<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' }}\
             {% elif message['role'] == 'user' %}\
             {% if loop.first or loop.previtem['role'] != 'system' %}{{ '[INST] ' }}{% endif %}{{ message['content'] }}\
             {% else %}{{ ' [/INST] ' + message['content'] + eos_token }}{% endif %}{% endfor %}\
             {% if add_generation_prompt %}{{ ' [/INST]' }}{% endif %}"
        }
        ChatFormat::ChatMl => {
            "{{ bos_token }}{% for message in messages %}\
             {% if not loop.first %}{{ '\n' }}{% endif %}\
             {{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}\
             {% if loop.last and message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}\
             {% if add_generation_prompt %}{{ '\n<|im_start|>assistant\n' }}{% endif %}"
        }
    }
}
