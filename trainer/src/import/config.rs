//! `config.json` of `transformers`: which model it describes, if it is one that this program computes.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::integrity;
use crate::error::{Error, Result};
use crate::model::{Block, Family, ModelConfig, Positions};
use crate::ops::{NORM_EPSILON, Norm, THETA};
use crate::published::Architecture;

/// A configuration is a few kilobytes, an index of tensors some hundred.
const LARGEST_JSON: u64 = 1 << 24;

/// What a configuration describes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    pub(super) architecture: Architecture,
    pub(super) model: ModelConfig,
    /// Most tokens of a sequence.
    pub(super) sequence_tokens: usize,
    /// The token that ends a document, if it names one and no more.
    pub(super) end_of_text: Option<u32>,
}

/// Keys that say nothing of what is computed at inference: whose they are, how they were made, where they run, dropout, and tokens that
/// are not needed here.
const OF_NO_ACCOUNT: [&str; 42] = [
    "_name_or_path",
    "architectures",
    "attention_dropout",
    "attn_impl",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "emb_pdrop",
    "embedding_fraction",
    "id2label",
    "init_config",
    "init_device",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "max_length",
    "model_type",
    "name",
    "norm_type",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "tokenizer_name",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "verbose",
    "eos_token_id",
    "vocab_size",
    "attn_config",
    "rope_parameters",
    "d_model",
    "n_heads",
    "n_layers",
    "max_seq_len",
    "learned_pos_emb",
];

impl Described {
    /// Reads `config.json` at `path`.
    ///
    /// # Errors
    /// It cannot be read, or describes what this program does not compute: every problem is named.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let json = read_json(path)?;
        Self::of(&json).map_err(|problems| {
            integrity(
                path,
                format!(
                    "{}\nhint: what is imported must be computed here to the last digit; MPT without biases, Cohere and Llama with plain rotary positions and a tied head are",
                    problems.join("; ")
                ),
            )
        })
    }

    fn of(json: &Value) -> Result<Self, Vec<String>> {
        let Some(object) = json.as_object() else {
            return Err(vec!["it is no object".to_owned()]);
        };
        let kind = object.get("model_type").and_then(Value::as_str);
        let architecture = Architecture::ALL
            .into_iter()
            .find(|architecture| Some(architecture.model_type()) == kind);
        let Some(architecture) = architecture else {
            return Err(vec![format!(
                "model_type is {}, and mpt, cohere and llama can be imported",
                object.get("model_type").unwrap_or(&Value::Null)
            )]);
        };
        let mut keys = Keys::new(object);
        let (model, sequence_tokens) = match architecture {
            Architecture::Mpt => mpt(&mut keys),
            Architecture::Cohere | Architecture::Llama => rotary(architecture, &mut keys),
        };
        let Keys {
            mut problems,
            unread,
            ..
        } = keys;
        for key in unread {
            problems.push(format!("the meaning of {key:?} is not known"));
        }
        if problems.is_empty() {
            problems.extend(model.problems());
        }
        if sequence_tokens == 0 || sequence_tokens > 1 << 20 {
            problems.push(format!(
                "sequences of {sequence_tokens} tokens: between 1 and {} can be",
                1 << 20
            ));
        }
        if problems.is_empty()
            && let Err(error) = Architecture::of(&model)
        {
            problems.push(error.to_string());
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let end = object.get("eos_token_id").and_then(Value::as_u64);
        Ok(Self {
            architecture,
            model,
            sequence_tokens,
            end_of_text: end.and_then(|id| u32::try_from(id).ok()),
        })
    }
}

/// Reads JSON of a bounded size.
pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let length = fs_err::metadata(path)
        .map_err(Error::io("reading the folder of transformers"))?
        .len();
    if length > LARGEST_JSON {
        return Err(integrity(path, format!("{length} bytes are too many")));
    }
    let bytes = fs_err::read(path).map_err(Error::io("reading the folder of transformers"))?;
    serde_json::from_slice(&bytes).map_err(|error| integrity(path, error.to_string()))
}

/// The keys of an object, what is wrong with them, and which were not asked for yet.
struct Keys<'a> {
    object: &'a Map<String, Value>,
    unread: Vec<&'a str>,
    problems: Vec<String>,
}

/// What a key that is absent means.
#[derive(Clone, Copy, PartialEq)]
enum Absent {
    /// What we compute.
    Ours,
    /// Something else: defaults of the class.
    Another,
}

impl<'a> Keys<'a> {
    fn new(object: &'a Map<String, Value>) -> Self {
        let unread = object.keys().map(String::as_str);
        Self {
            object,
            unread: unread.filter(|key| !OF_NO_ACCOUNT.contains(key)).collect(),
            problems: Vec::new(),
        }
    }

    /// A value that is there and not null.
    fn get(&mut self, key: &str) -> Option<&'a Value> {
        self.unread.retain(|unread| *unread != key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A size; `absent` where none is given.
    fn size(&mut self, key: &str, absent: Option<usize>) -> usize {
        let size = match (self.get(key), absent) {
            (None, Some(size)) => Some(size),
            (None, None) => None,
            (Some(value), _) => value.as_u64().and_then(|size| usize::try_from(size).ok()),
        };
        size.unwrap_or_else(|| {
            self.problems.push(format!("{key} must be a number"));
            1
        })
    }

    /// A key that must have this value.
    fn is(&mut self, key: &str, ours: &Value, absent: Absent) {
        match self.get(key) {
            // Null stands for what is absent, and where that is nothing ours is null too.
            None if absent == Absent::Ours => {}
            None => self.problems.push(format!(
                "{key} is not said, and must be {ours}: its default is another"
            )),
            Some(value) if same(value, ours) => {}
            Some(value) => self
                .problems
                .push(format!("{key} is {value}, and must be {ours}")),
        }
    }
}

/// Whether two values are the same, numbers by their values and not by how they are written.
fn same(value: &Value, ours: &Value) -> bool {
    match (value.as_f64(), ours.as_f64()) {
        (Some(value), Some(ours)) => value == ours,
        _ => value == ours,
    }
}

fn mpt(keys: &mut Keys<'_>) -> (ModelConfig, usize) {
    use Absent::Ours;
    let (width, heads) = (keys.size("d_model", None), keys.size("n_heads", None));
    let (layers, vocabulary) = (keys.size("n_layers", None), keys.size("vocab_size", None));
    let sequence_tokens = keys.size("max_seq_len", Some(2048));
    if heads == 0 || !width.is_multiple_of(heads) {
        keys.problems
            .push(format!("n_heads {heads} does not divide d_model {width}"));
    }
    // The class multiplies by four whatever this says.
    keys.is("expansion_ratio", &json!(4), Ours);
    keys.is("layer_norm_epsilon", &json!(NORM_EPSILON), Ours);
    keys.is("logit_scale", &Value::Null, Ours);
    keys.is("no_bias", &json!(true), Ours);
    keys.is("tie_word_embeddings", &json!(true), Ours);
    if let Some(attention) = keys.object.get("attn_config") {
        let empty = Map::new();
        let mut inner = Keys::new(attention.as_object().unwrap_or(&empty));
        inner.is("alibi", &json!(true), Ours);
        inner.is("alibi_bias_max", &json!(8), Ours);
        inner.is("attn_type", &json!("multihead_attention"), Ours);
        inner.is("clip_qkv", &Value::Null, Ours);
        inner.is("prefix_lm", &json!(false), Ours);
        inner.is("qk_ln", &json!(false), Ours);
        inner.is("softmax_scale", &Value::Null, Ours);
        inner.is("attn_uses_sequence_id", &json!(false), Ours);
        if !attention.is_object() && !attention.is_null() {
            inner.problems.push("attn_config is no object".to_owned());
        }
        let unknown = inner.unread.iter();
        let unknown =
            unknown.map(|key| format!("the meaning of {key:?} in attn_config is not known"));
        keys.problems.extend(unknown);
        keys.problems.extend(inner.problems);
    }
    let head_size = width.checked_div(heads).unwrap_or(1);
    let model = Family::Mpt.model(vocabulary, 1, layers, heads, head_size);
    let model = ModelConfig {
        width,
        feed_forward: width.saturating_mul(4),
        ..model
    };
    (model, sequence_tokens)
}

fn rotary(architecture: Architecture, keys: &mut Keys<'_>) -> (ModelConfig, usize) {
    use Absent::{Another, Ours};
    let cohere = architecture == Architecture::Cohere;
    let width = keys.size("hidden_size", None);
    let heads = keys.size("num_attention_heads", None);
    let key_heads = keys.size("num_key_value_heads", Some(heads));
    let head_size = keys.size("head_dim", Some(width.checked_div(heads).unwrap_or(1)));
    let (layers, vocabulary) = (
        keys.size("num_hidden_layers", None),
        keys.size("vocab_size", None),
    );
    let feed_forward = keys.size("intermediate_size", None);
    let sequence_tokens = keys.size("max_position_embeddings", None);
    keys.is("hidden_act", &json!("silu"), Ours);
    keys.is("attention_bias", &json!(false), Ours);
    keys.is("rope_scaling", &Value::Null, Ours);
    let theta = json!(THETA);
    match keys
        .object
        .get("rope_parameters")
        .filter(|value| !value.is_null())
    {
        None if cohere => keys.is("rope_theta", &theta, Another),
        None => keys.is("rope_theta", &theta, Ours),
        Some(parameters) => {
            keys.is("rope_theta", &theta, Ours);
            let empty = Map::new();
            let mut inner = Keys::new(parameters.as_object().unwrap_or(&empty));
            inner.is("rope_type", &json!("default"), Ours);
            inner.is("rope_theta", &theta, Another);
            let unknown = inner.unread.iter();
            let unknown = unknown
                .map(|key| format!("the meaning of {key:?} in rope_parameters is not known"));
            keys.problems.extend(unknown);
            keys.problems.extend(inner.problems);
        }
    }
    if cohere {
        keys.is("layer_norm_eps", &json!(NORM_EPSILON), Ours);
        keys.is("logit_scale", &json!(1.0), Another);
        keys.is("use_qk_norm", &json!(false), Ours);
        keys.is("tie_word_embeddings", &json!(true), Ours);
    } else {
        keys.is("rms_norm_eps", &json!(NORM_EPSILON), Another);
        keys.is("mlp_bias", &json!(false), Ours);
        keys.is("tie_word_embeddings", &json!(true), Another);
    }
    let model = ModelConfig {
        width,
        key_heads,
        feed_forward,
        block: if cohere {
            Block::Parallel
        } else {
            Block::Sequential
        },
        norm: if cohere { Norm::Layer } else { Norm::Rms },
        positions: Positions::Rotary,
        ..Family::Palm.model(vocabulary, 1, layers, heads, head_size)
    };
    (model, sequence_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mpt_7b() -> Value {
        // mosaicml/mpt-7b, config.json, with its head tied and its tokenizer's token added.
        json!({
            "architectures": ["MPTForCausalLM"],
            "attn_config": {
                "alibi": true, "alibi_bias_max": 8, "attn_impl": "torch", "attn_pdrop": 0,
                "attn_type": "multihead_attention", "attn_uses_sequence_id": false, "clip_qkv": null,
                "prefix_lm": false, "qk_ln": false, "softmax_scale": null
            },
            "auto_map": {"AutoConfig": "configuration_mpt.MPTConfig"},
            "d_model": 4096, "emb_pdrop": 0, "embedding_fraction": 1.0, "eos_token_id": 0, "expansion_ratio": 4,
            "init_config": {"emb_init_std": null, "name": "kaiming_normal_"},
            "init_device": "cpu", "learned_pos_emb": true, "logit_scale": null, "max_seq_len": 2048,
            "model_type": "mpt", "n_heads": 32, "n_layers": 32, "no_bias": true,
            "norm_type": "low_precision_layernorm", "resid_pdrop": 0,
            "tokenizer_name": "EleutherAI/gpt-neox-20b", "torch_dtype": "bfloat16",
            "transformers_version": "4.28.1", "use_cache": false, "verbose": 0, "vocab_size": 50432
        })
    }

    fn llama() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2,
            "num_hidden_layers": 3, "vocab_size": 1000, "intermediate_size": 200, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "eos_token_id": [3, 4]
        })
    }

    #[test]
    fn published_configurations_are_understood() {
        let described = Described::of(&mpt_7b()).unwrap();
        // The count that the card and `reference` tables have for vocabulary 50,432.
        assert_eq!(described.model.parameters(), 6_649_286_656);
        assert_eq!(
            (described.sequence_tokens, described.end_of_text),
            (2048, Some(0))
        );
        let described = Described::of(&llama()).unwrap();
        assert_eq!(
            (described.model.head_size, described.model.key_heads),
            (16, 2)
        );
        assert_eq!(described.end_of_text, None);
    }

    #[test]
    fn what_would_compute_something_else_is_refused_by_name() {
        for (base, key, value) in [
            (mpt_7b(), "logit_scale", json!("inv_sqrt_d_model")),
            (mpt_7b(), "no_bias", json!(false)),
            (mpt_7b(), "expansion_ratio", json!(3)),
            (mpt_7b(), "n_heads", json!(33)),
            (mpt_7b(), "n_heads", json!(0)),
            (mpt_7b(), "d_model", json!(-4)),
            (mpt_7b(), "d_model", json!(u64::MAX)),
            (mpt_7b(), "n_layers", json!(1u64 << 40)),
            (mpt_7b(), "vocab_size", json!("many")),
            (mpt_7b(), "max_seq_len", json!(0)),
            (mpt_7b(), "attn_config", json!(3)),
            (mpt_7b(), "ffn_config", json!({})),
            (llama(), "rms_norm_eps", json!(1e-6)),
            (llama(), "tie_word_embeddings", json!(false)),
            (
                llama(),
                "rope_scaling",
                json!({"type": "linear", "factor": 2.0}),
            ),
            (
                llama(),
                "rope_parameters",
                json!({"rope_type": "yarn", "rope_theta": 1e4}),
            ),
            (llama(), "rope_parameters", json!({"rope_type": "default"})),
            (llama(), "num_key_value_heads", json!(4)),
            (llama(), "head_dim", json!(15)),
            (llama(), "sliding_window", json!(128)),
            (llama(), "model_type", json!("mistral")),
            (llama(), "hidden_size", Value::Null),
        ] {
            let mut changed = base;
            changed[key] = value;
            let problems = Described::of(&changed).unwrap_err().join("; ");
            let says = match key {
                "max_seq_len" => "sequences of 0",
                "num_key_value_heads" => "key-heads",
                "n_layers" => "model.layers",
                "head_dim" => "head-size",
                "rope_parameters" => "rope_t",
                key => key,
            };
            assert!(problems.contains(says), "{key}: {problems}");
        }
        for key in ["rms_norm_eps", "tie_word_embeddings"] {
            let mut changed = llama();
            changed.as_object_mut().unwrap().remove(key);
            let problems = Described::of(&changed).unwrap_err();
            assert_eq!(problems.len(), 1);
            assert!(
                problems[0].contains("its default is another"),
                "{problems:?}"
            );
        }
        let mut cohere = llama();
        cohere["model_type"] = json!("cohere");
        let problems = Described::of(&cohere).unwrap_err();
        // The epsilon of the other class, and two defaults that are not ours.
        assert_eq!(problems.len(), 3, "{problems:?}");
        let mut clipped = mpt_7b();
        clipped["attn_config"]["clip_qkv"] = json!(6);
        clipped["attn_config"]["rope"] = json!(true);
        assert_eq!(Described::of(&clipped).unwrap_err().len(), 2);
        assert!(Described::of(&json!([])).is_err());
    }
}
