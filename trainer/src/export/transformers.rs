//! A folder that `transformers` loads by `AutoModelForCausalLM.from_pretrained`, without custom code.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, View};
use serde_json::{Value, json};

use super::folder::Unfinished;
use super::{Exporting, Precision};
use crate::checkpoint::Weights;
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::ops::{NORM_EPSILON, THETA};
use crate::published::{Architecture, Form, PublishedTensor, tensors};

pub(super) fn write(exporting: &Exporting<'_>, unfinished: &Unfinished) -> Result<()> {
    let Exporting {
        state, tokenizer, ..
    } = exporting;
    let (model, context) = (&state.config.model, state.config.data.sequence_tokens);
    unfinished.write_json("config.json", &config(exporting))?;
    unfinished.write_json(
        "generation_config.json",
        &tokenizer.generation(model.vocabulary),
    )?;
    tokenizer.write(context, unfinished)?;
    let all = tensors(exporting.architecture, Form::Transformers, model);
    let views = all.iter().map(|tensor| {
        let view = Rows {
            weights: exporting.weights,
            tensor,
            precision: exporting.precision,
        };
        (tensor.name.as_str(), view)
    });
    // transformers refuses a file that does not say whose layout it has.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let path = unfinished.file("model.safetensors");
    safetensors::serialize_to_file(views, Some(metadata), &path).map_err(|error| Error::Io {
        what: format!("writing {}", path.display()),
        source: std::io::Error::other(error),
    })
}

/// A published tensor, put together when it is written.
struct Rows<'a> {
    weights: &'a Weights,
    tensor: &'a PublishedTensor,
    precision: Precision,
}

impl View for Rows<'_> {
    fn dtype(&self) -> Dtype {
        self.precision.dtype()
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(gathered(self.weights, self.tensor, self.precision))
    }

    fn data_len(&self) -> usize {
        self.precision.bytes() * self.tensor.shape.iter().product::<usize>()
    }
}

/// The bytes of a published tensor.
pub(super) fn gathered(
    weights: &Weights,
    tensor: &PublishedTensor,
    precision: Precision,
) -> Vec<u8> {
    let columns = tensor.shape.last().copied().unwrap_or(0);
    let mut bytes = Vec::with_capacity(precision.bytes() * tensor.shape.iter().product::<usize>());
    for piece in &tensor.pieces {
        let singles = weights.bytes(piece.parameter);
        for row in piece.order() {
            precision.append(
                &singles[4 * row * columns..4 * (row + 1) * columns],
                &mut bytes,
            );
        }
    }
    bytes
}

/// `config.json`. Everything that the class would otherwise take a default for is said, since defaults have changed between
/// versions; `rope_theta` is what version 4 reads and `rope_parameters` what version 5 does.
fn config(exporting: &Exporting<'_>) -> Value {
    let ModelConfig {
        vocabulary,
        width,
        layers,
        heads,
        key_heads,
        head_size,
        feed_forward,
        ..
    } = exporting.state.config.model;
    let context = exporting.state.config.data.sequence_tokens;
    let mut config = match exporting.architecture {
        Architecture::Mpt => json!({
            "d_model": width,
            "n_heads": heads,
            "n_layers": layers,
            "expansion_ratio": 4,
            "max_seq_len": context,
            "layer_norm_epsilon": NORM_EPSILON,
            "learned_pos_emb": false,
            "attn_config": {
                "alibi": true,
                "alibi_bias_max": 8,
                "attn_pdrop": 0,
                "attn_type": "multihead_attention",
                "attn_uses_sequence_id": false,
                "clip_qkv": null,
                "prefix_lm": false,
                "qk_ln": false,
                "softmax_scale": null,
            },
            "emb_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "logit_scale": null,
            "no_bias": true,
            "norm_type": "low_precision_layernorm",
        }),
        Architecture::Cohere | Architecture::Llama => json!({
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_heads,
            "head_dim": head_size,
            "hidden_act": "silu",
            "max_position_embeddings": context,
            "rope_theta": THETA,
            "rope_parameters": { "rope_type": "default", "rope_theta": THETA },
            "attention_bias": false,
            "attention_dropout": 0.0,
        }),
    };
    let end_of_text = exporting.tokenizer.end_of_text();
    let mut add = |key: &str, value: Value| config[key] = value;
    match exporting.architecture {
        Architecture::Mpt => {}
        Architecture::Cohere => {
            add("layer_norm_eps", json!(NORM_EPSILON));
            add("logit_scale", json!(1.0));
            add("use_qk_norm", json!(false));
        }
        Architecture::Llama => {
            add("rms_norm_eps", json!(NORM_EPSILON));
            add("mlp_bias", json!(false));
        }
    }
    add("architectures", json!([exporting.architecture.class()]));
    add("model_type", json!(exporting.architecture.model_type()));
    add("vocab_size", json!(vocabulary));
    add("bos_token_id", json!(end_of_text));
    add("eos_token_id", json!(end_of_text));
    add("pad_token_id", Value::Null);
    add("tie_word_embeddings", json!(true));
    add("torch_dtype", json!(exporting.precision.torch()));
    add("use_cache", json!(true));
    config
}
