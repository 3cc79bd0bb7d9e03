//! What the samples lack of the repositories and splits that the catalogue names, made from what is there.
//!
//! A split without a sample gets rows of a sibling split, so that every path of a manifest leads to a file; a repository
//! without one gets rows of the same columns with other text. None of it says anything of the original's content.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use flate2::read::GzDecoder;
use fs_err as fs;
use parquet::arrow::ArrowWriter;

use crate::corpus::gzip;
use crate::repository::{Content, RemoteEntry, Repository};

/// A paragraph a language, by the folders of FineWeb-2: written for these tests.
const EUROPE: [(&str, &str); 10] = [
    (
        "deu_Latn",
        "Am Morgen liegt Nebel über dem Fluss, und die ersten Boote fahren hinaus. Wer früh aufsteht, hört die Glocken von der anderen Seite und kauft das Brot, solange es noch warm ist.",
    ),
    (
        "spa_Latn",
        "El mercado abre al amanecer, cuando los pescadores vuelven con sus redes. Las vecinas comparan precios, hablan del tiempo y regresan a casa antes de que el sol llegue a la plaza.",
    ),
    (
        "fra_Latn",
        "La bibliothèque du village occupe une ancienne école. Chaque samedi, les enfants y choisissent deux livres, les lisent sous le tilleul et les rapportent la semaine suivante.",
    ),
    (
        "ita_Latn",
        "La strada sale fra gli ulivi e arriva a una piccola chiesa. Da lassù si vede il mare, e nelle giornate chiare anche l'isola dove abitava il nonno prima della guerra.",
    ),
    (
        "por_Latn",
        "O comboio atravessa a ponte devagar, e os passageiros olham para o rio. Na outra margem começam as vinhas, que no outono ficam vermelhas e cheiram a mosto e a lenha.",
    ),
    (
        "pol_Latn",
        "Zimą jezioro zamarza i dzieci jeżdżą po nim na łyżwach. Wieczorem ktoś rozpala ognisko, a starsi opowiadają, jak dawniej przez lód chodziło się do sąsiedniej wsi.",
    ),
    (
        "nld_Latn",
        "De fietser stopt bij het kanaal en wacht tot de brug weer dicht is. Aan de overkant draait de molen, en achter de dijk grazen schapen in het natte gras van april.",
    ),
    (
        "ron_Latn",
        "Toamna, drumul spre munte este plin de frunze și de ceață. Ciobanii coboară cu oile, iar la marginea satului femeile pun la uscat ciuperci, mere și prune pentru iarnă.",
    ),
    (
        "ces_Latn",
        "Na náměstí stojí stará kašna, ve které si děti v létě chladí nohy. Vedle ní prodává zahradník sazenice a každému poradí, kdy je sázet a jak často je zalévat vodou.",
    ),
    (
        "swe_Latn",
        "På ön finns bara en affär, och där vet alla vad grannen ska ha till middag. När färjan har gått blir det tyst, och man hör bara måsarna och vinden i de låga träden.",
    ),
];

/// Adds to `repositories`, which were found below `root`, what they lack.
///
/// # Errors
/// A sample cannot be read.
pub(crate) fn complete(repositories: &mut Vec<Repository>, root: &Path) -> io::Result<()> {
    let mut made = Vec::new();
    for repository in &mut *repositories {
        match repository.id.as_str() {
            "nyu-mll/glue" => {
                for task in ["sst2", "qqp", "qnli"] {
                    stand_in(
                        repository,
                        &format!("{task}/validation-"),
                        &format!("{task}/train-"),
                    );
                }
            }
            "ybisk/piqa" => stand_in(repository, "plain_text/validation-", "plain_text/train-"),
            "Anthropic/hh-rlhf" => share_out(repository)?,
            "databricks/databricks-dolly-15k" => made.extend(questions(repository)?),
            "HuggingFaceFW/fineweb-2" | "manu/project_gutenberg" | "Open-Orca/OpenOrca" => {}
            _ => continue,
        }
        *repository =
            Repository::from_entries(&repository.id, std::mem::take(&mut repository.files));
    }
    let europe = EUROPE.map(|(folder, text)| {
        let path = format!("data/{folder}/train/000_00000.parquet");
        (
            path,
            table(&[
                ("text", vec![text.to_owned()]),
                ("id", vec![folder.to_owned()]),
            ]),
        )
    });
    made.push(repository("HuggingFaceFW/fineweb-2", europe));
    if let Ok(plays) = fs::read_to_string(root.join("../native/tinyshakespeare/input.txt")) {
        let books: Vec<String> = pieces(&plays, 40_000);
        let ids = (0..books.len()).map(|i| format!("{i}-0")).collect();
        let file = table(&[("id", ids), ("text", books)]);
        made.push(repository(
            "manu/project_gutenberg",
            [("data/en-00000-of-00001.parquet".to_owned(), file)],
        ));
    }
    for new in made {
        if repositories.iter().all(|known| known.id != new.id) {
            repositories.push(new);
        }
    }
    Ok(())
}

fn repository(id: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Repository {
    let files = files.into_iter().map(|(path, bytes)| {
        let entry = RemoteEntry::new(Content::Memory(bytes.into()));
        (path, entry.expect("memory can be read"))
    });
    Repository::from_entries(id, files.collect())
}

/// Where no file begins with `lacking`, the file that begins with `there` also has that name.
fn stand_in(repository: &mut Repository, there: &str, lacking: &str) {
    if repository
        .files
        .keys()
        .any(|path| path.starts_with(lacking))
    {
        return;
    }
    let found = repository
        .files
        .iter()
        .find_map(|(path, entry)| Some((path.strip_prefix(there)?.to_owned(), entry.clone())));
    if let Some((rest, entry)) = found {
        repository.files.insert(format!("{lacking}{rest}"), entry);
    }
}

/// Every subset's training split gets its share of the pairs that one test split has.
fn share_out(repository: &mut Repository) -> io::Result<()> {
    let Some(entry) = repository.files.get("harmless-base/test.jsonl.gz") else {
        return Ok(());
    };
    let mut text = String::new();
    GzDecoder::new(&bytes(entry)?[..]).read_to_string(&mut text)?;
    let subsets = [
        "harmless-base",
        "helpful-base",
        "helpful-online",
        "helpful-rejection-sampled",
    ];
    for (number, subset) in subsets.iter().enumerate() {
        let share: String = text
            .split_inclusive('\n')
            .skip(number)
            .step_by(subsets.len())
            .collect();
        for split in ["train", "test"] {
            let path = format!("{subset}/{split}.jsonl.gz");
            let entry = RemoteEntry::new(Content::Memory(gzip(share.as_bytes()).into()))?;
            repository.files.entry(path).or_insert(entry);
        }
    }
    Ok(())
}

/// Instructions in the columns of `OpenOrca`.
fn questions(repository: &Repository) -> io::Result<Option<Repository>> {
    let Some(entry) = repository.files.get("databricks-dolly-15k.jsonl") else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes(entry)?).map_err(io::Error::other)?;
    let (mut ids, mut systems, mut questions, mut responses) = (vec![], vec![], vec![], vec![]);
    for (number, line) in text.lines().enumerate() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        ids.push(format!("sample.{number}"));
        systems.push("You are an AI assistant. Explain your answer.".to_owned());
        questions.push(field("instruction"));
        responses.push(field("response"));
    }
    let file = table(&[
        ("id", ids),
        ("system_prompt", systems),
        ("question", questions),
        ("response", responses),
    ]);
    let path = "1M-GPT4-Augmented.parquet".to_owned();
    Ok(Some(self::repository("Open-Orca/OpenOrca", [(path, file)])))
}

fn bytes(entry: &RemoteEntry) -> io::Result<Vec<u8>> {
    match &entry.content {
        Content::Memory(bytes) => Ok(bytes.to_vec()),
        Content::File(path) => fs::read(path),
    }
}

/// A text in pieces of about so many bytes, cut at blank lines.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for paragraph in text.split_inclusive("\n\n") {
        match pieces.last_mut() {
            Some(last) if last.len() < size => last.push_str(paragraph),
            _ => pieces.push(paragraph.to_owned()),
        }
    }
    pieces
}

/// A parquet file of columns of text.
fn table(columns: &[(&str, Vec<String>)]) -> Vec<u8> {
    let columns = columns.iter().map(|(name, values)| {
        let array: ArrayRef = Arc::new(StringArray::from(values.clone()));
        (*name, array)
    });
    let batch = RecordBatch::try_from_iter(columns).expect("columns are equally long");
    let mut out = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut out, batch.schema(), None).expect("memory takes what is written");
    writer.write(&batch).expect("memory takes what is written");
    writer.close().expect("memory takes what is written");
    out.flush().expect("memory takes what is written");
    out
}
