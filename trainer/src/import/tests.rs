use super::*;
use crate::export::{ExportOptions, Precision, Target, export};
use crate::model::{Block, Family, ModelConfig};
use crate::ops::Norm;
use crate::parallel::Team;

const TOKENIZER_JSON: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[
    {"id":0,"content":"<end>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
    "normalizer":null,"pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
    "model":{"type":"WordLevel","vocab":{"<end>":0,"a":1,"b":2},"unk_token":"a"}}"#;

/// A run with a checkpoint of random values, and what it is exported to.
struct World {
    folder: tempfile::TempDir,
    checkpoint: PathBuf,
}

impl World {
    fn new(model: ModelConfig, precision: Precision) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = Run::lock(&folder.path().join("run")).unwrap();
        run.write_tokenizer(TOKENIZER_JSON.as_bytes()).unwrap();
        let described = Described {
            architecture: crate::published::Architecture::of(&model).unwrap(),
            model,
            sequence_tokens: 32,
            end_of_text: Some(0),
        };
        let config = run_config(&described);
        let model = Model::new(model, 5, Fused::<f32>::default()).unwrap();
        let optimizer = Optimizer::new(config.optimizer.clone(), &model).unwrap();
        let mut state = State::new(config, "root".to_owned(), 0);
        let checkpoint = checkpoint::save(
            run.path(),
            &mut state,
            &model,
            &optimizer,
            &Team::alone(&model),
        )
        .unwrap();
        let options = ExportOptions {
            target: Target::Transformers,
            precision,
            average: false,
        };
        let out = folder.path().join("exported");
        export(run.path(), &checkpoint, &state, options, &out).unwrap();
        Self { folder, checkpoint }
    }

    fn exported(&self, file: &str) -> PathBuf {
        self.folder.path().join("exported").join(file)
    }

    fn import(&self, name: &str) -> Result<Imported> {
        let run = Run::lock(&self.folder.path().join(name)).unwrap();
        import(&self.folder.path().join("exported"), &run, None)
    }

    fn refused(&self, code: u8, says: &str) {
        let error = self.import("refused").unwrap_err();
        assert!(
            error.exit_code() == code && error.to_string().contains(says),
            "{says}: {error}"
        );
        assert!(
            checkpoint::steps(&self.folder.path().join("refused"))
                .unwrap()
                .is_empty()
        );
    }
}

fn models() -> [ModelConfig; 3] {
    let palm = ModelConfig {
        key_heads: 2,
        feed_forward: 10,
        ..Family::Palm.model(64, 12, 2, 4, 6)
    };
    let llama = ModelConfig {
        block: Block::Sequential,
        norm: Norm::Rms,
        ..palm
    };
    // The first values are no part of what is published, and imports have those of their families.
    [Family::Mpt.model(64, 12, 2, 4, 3), palm, llama]
}

#[test]
fn a_model_goes_there_and_back_without_a_changed_bit() {
    for model in models() {
        let world = World::new(model, Precision::F32);
        let imported = world.import("again").unwrap();
        assert_eq!((imported.end_of_text, imported.sequence_tokens), (0, 32));
        let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        assert!(
            bytes(&world.checkpoint) == bytes(&imported.checkpoint),
            "{model:?}"
        );
        let state = checkpoint::verify(&imported.checkpoint).unwrap();
        assert_eq!((state.step, state.config.model), (0, model));
        assert_eq!(state.root, IMPORTED);
        // Not over what is there.
        assert_eq!(world.import("again").unwrap_err().exit_code(), 2);
    }
}

#[test]
fn rounded_numbers_are_read_as_they_were_written() {
    let world = World::new(models()[1], Precision::Bf16);
    let imported = world.import("again").unwrap();
    let singles = |folder: &Path| {
        let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = tensors
            .tensor("layers.1.query.weight")
            .unwrap()
            .data()
            .to_vec();
        let (words, _) = data.as_chunks::<4>();
        words
            .iter()
            .map(|word| f32::from_le_bytes(*word))
            .collect::<Vec<_>>()
    };
    let (before, after) = (singles(&world.checkpoint), singles(&imported.checkpoint));
    // Seven bits of fraction are stored: off by at most 2^-8 of itself.
    assert!(before != after);
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(a, b)| (a - b).abs() <= a.abs() / 256.0)
    );
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// The tensors of the export, changed and written again.
fn retensor(world: &World, change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<u8>)>)) {
    use safetensors::tensor::{Dtype, TensorView};
    let path = world.exported(TENSORS);
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut all: BTreeMap<_, _> = tensors
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(name, (shape, data))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
}

#[test]
fn folders_that_are_not_what_they_say_are_refused() {
    let fresh = || World::new(models()[1], Precision::F32);
    let embedding = "model.embed_tokens.weight";

    let world = fresh();
    // A larger model than its file has numbers for, before anything is taken for it.
    rewrite(&world.exported(CONFIG), |json| {
        json["vocab_size"] = (1 << 24).into();
    });
    world.refused(30, embedding);
    rewrite(&world.exported(CONFIG), |json| {
        json["vocab_size"] = 64.into();
        json["num_hidden_layers"] = 3.into();
    });
    world.refused(30, "no tensor \"model.layers.2.");
    rewrite(&world.exported(CONFIG), |json| {
        json["num_hidden_layers"] = 1.into();
    });
    world.refused(30, "\"model.layers.1.");

    let world = fresh();
    retensor(&world, |all| {
        let bias = (vec![2], vec![0; 8]);
        all.insert("model.layers.0.self_attn.q_proj.bias".to_owned(), bias);
    });
    world.refused(30, "q_proj.bias");
    let world = fresh();
    retensor(&world, |all| {
        let (shape, mut data) = all[embedding].clone();
        data[3] ^= 1;
        all.insert(HEAD.to_owned(), (shape, data));
    });
    world.refused(30, "not tied");
    let world = fresh();
    retensor(&world, |all| {
        let head = all[embedding].clone();
        all.insert(HEAD.to_owned(), head);
        all.insert(
            "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(),
            (vec![1], vec![0; 4]),
        );
    });
    world.import("tied").unwrap();

    let world = fresh();
    std::fs::write(
        world.exported(TOKENIZER),
        TOKENIZER_JSON.replace("\"b\":2", "\"b\":64"),
    )
    .unwrap();
    world.import("holes").unwrap();
    rewrite(&world.exported(CONFIG), |json| {
        json["eos_token_id"] = 9.into();
    });
    world.refused(20, "no token 9");
    rewrite(&world.exported(CONFIG), |json| {
        json["eos_token_id"] = Value::Null;
    });
    world.refused(20, "--end-of-text");
    rewrite(&world.exported(CONFIG), |json| {
        json["clip"] = 1.into();
    });
    world.refused(30, "\"clip\"");
    std::fs::write(world.exported(CONFIG), "{").unwrap();
    world.refused(30, "config.json");
    std::fs::remove_file(world.exported(CONFIG)).unwrap();
    world.refused(10, "config.json");
}

#[test]
fn tensors_in_several_files_are_found_by_the_index_alone() {
    let world = World::new(models()[0], Precision::F32);
    let before = std::fs::read(world.checkpoint.join("model.safetensors")).unwrap();
    let name = "transformer.norm_f.weight";
    let mut moved = None;
    retensor(&world, |all| moved = all.remove(name));
    let (shape, data) = moved.unwrap();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, &data).unwrap();
    let second = world.exported("model-2.safetensors");
    safetensors::serialize_to_file([(name, view)], None, &second).unwrap();
    world.refused(30, "no tensor \"transformer.norm_f.weight\"");
    let index = |names: [&str; 2]| {
        let map = serde_json::json!({"weight_map": {"a": names[0], "b": names[1]}});
        std::fs::write(world.exported(INDEX), map.to_string()).unwrap();
    };
    index([TENSORS, "model-2.safetensors"]);
    let imported = world.import("again").unwrap();
    assert!(before == std::fs::read(imported.checkpoint.join("model.safetensors")).unwrap());
    for name in [
        "../model-2.safetensors",
        "/etc/passwd",
        ".x.safetensors",
        "model-2",
    ] {
        index([TENSORS, name]);
        world.refused(30, "is no name");
    }
    std::fs::copy(world.exported(TENSORS), world.exported("copy.safetensors")).unwrap();
    index([TENSORS, "copy.safetensors"]);
    world.refused(30, "another file too");
}
