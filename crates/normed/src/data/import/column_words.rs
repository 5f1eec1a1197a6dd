//! Usual names of columns, in English, German, French, Spanish and Chinese.

use crate::data::Split;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Image,
    Question,
    Answer,
    AnswerType,
    Report,
    Group,
    Split,
    Id,
}

// Usual names as `plain_name` gives them, from the most to the least certain.
const IMAGE: &str = "\
    image images imagefile imagename imagepath imagefilename img imgname imgpath bild \
    bilder bilddatei bildname bildpfad imagen imagenes 图像 图片 影像 图像文件 图片名 图片名称 图像路径 图片路径 \
    filename file filepath datei dateiname dateipfad fichier nomdufichier nomfichier \
    archivo nombredearchivo nombrearchivo fichero 文件 文件名 path pfad chemin ruta 路径 picture \
    photo foto scan aufnahme cliche dicom dicomfile";
const QUESTION: &str = "\
    question questions frage fragen fragetext pregunta preguntas 问题 提问 問題 questiontext \
    query prompt fragestellung";
const ANSWER: &str = "\
    answer answers antwort antworten reponse reponses respuesta respuestas 答案 回答 \
    answertext groundtruth goldanswer correctanswer";
const ANSWER_TYPE: &str = "\
    answertype antworttyp antwortart typedereponse typereponse tipoderespuesta \
    tiporespuesta 答案类型 回答类型";
const REPORT: &str = "\
    report reporttext findings befund befunde befundtext bericht compterendu rapport \
    informe reporte hallazgos 报告 诊断报告 影像所见 检查所见 caption";
const GROUP: &str = "\
    patientid patient patients patientnumber patientno patientkey idpatient numeropatient \
    patienten patientenid patientennummer patientennr patientin pid mrn paciente \
    pacienteid idpaciente 患者 患者id 患者编号 病人 病人id 病人编号 病历号 subject subjectid sujet sujeto \
    proband studyid study studie studienid caseid case fall fallnummer fallid caso 病例 病例号 \
    patientnr patid patnr npatient nopatient numpatient ndepatient identifiantpatient \
    fallnr accessionnumber accession ipp group gruppe groupe grupo patientname nompatient";
const SPLIT: &str = "\
    split subset partition datasplit aufteilung teilmenge particion subconjunto conjunto \
    ensemble 划分 数据划分 子集 set";
const ID: &str = "\
    id qid questionid rowid frageid fragenid idquestion idpregunta 问题id 编号 序号 nr nummer \
    numero uid";

impl Role {
    /// Every role, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Image,
        Self::Question,
        Self::Answer,
        Self::AnswerType,
        Self::Report,
        Self::Group,
        Self::Split,
        Self::Id,
    ];

    /// What the role is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Question => "question",
            Self::Answer => "answer",
            Self::AnswerType => "answer type",
            Self::Report => "report",
            Self::Group => "group",
            Self::Split => "split",
            Self::Id => "id",
        }
    }

    /// The option that names its column.
    pub fn option(self) -> &'static str {
        match self {
            Self::Image => "--image",
            Self::Question => "--question",
            Self::Answer => "--answer",
            Self::AnswerType => "--answer-type",
            Self::Report => "--report",
            Self::Group => "--group",
            Self::Split => "--split",
            Self::Id => "--id",
        }
    }

    /// Usual names.
    fn words(self) -> impl Iterator<Item = &'static str> {
        let words = match self {
            Self::Image => IMAGE,
            Self::Question => QUESTION,
            Self::Answer => ANSWER,
            Self::AnswerType => ANSWER_TYPE,
            Self::Report => REPORT,
            Self::Group => GROUP,
            Self::Split => SPLIT,
            Self::Id => ID,
        };
        words.split_ascii_whitespace()
    }

    /// How certain it is that a column of this name holds the role: 0 is the most; `None` if the name is not usual.
    pub fn rank(self, name: &str) -> Option<usize> {
        let name = plain_name(name);
        self.words().position(|word| word == name)
    }
}

/// A column's name in small letters, without accents, blanks and punctuation.
pub(super) fn plain_name(name: &str) -> String {
    let plain = |c: char| match c {
        'à' | 'á' | 'â' | 'ä' => 'a',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ò' | 'ó' | 'ô' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ç' => 'c',
        'ñ' => 'n',
        other => other,
    };
    name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).map(plain).collect()
}

/// The name of a split, as [`Split::from_name`] knows it or in one of the five languages, as a data set has it.
pub(super) fn split_name(text: &str) -> Option<&'static str> {
    let plain = plain_name(text);
    let plain = plain.trim_end_matches('集').trim_end_matches("set");
    let split = Split::from_name(plain).or(match plain {
        "trainings" | "tr" | "entrainement" | "apprentissage" | "entrenamiento" | "训练" => {
            Some(Split::Train)
        }
        "development" | "validierung" | "validierungs" | "validacion" | "验证" => {
            Some(Split::Validate)
        }
        "prueba" | "essai" | "测试" | "heldout" => Some(Split::Test),
        _ => None,
    });
    split.map(Split::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_known_in_five_languages() {
        for (name, role) in [
            ("File_Name", Role::Image),
            ("Bilddatei", Role::Image),
            ("图片", Role::Image),
            ("QUESTION", Role::Question),
            ("Frage", Role::Question),
            ("Réponse", Role::Answer),
            ("Respuesta ", Role::Answer),
            ("答案", Role::Answer),
            ("Answer type", Role::AnswerType),
            ("Befund", Role::Report),
            ("Compte-rendu", Role::Report),
            ("Patient ID", Role::Group),
            ("Patienten-Nr.", Role::Group),
            ("患者ID", Role::Group),
            ("Patient Nr.", Role::Group),
            ("N° patient", Role::Group),
            ("Pat.-ID", Role::Group),
            ("Partición", Role::Split),
        ] {
            let roles: Vec<_> = Role::ALL.into_iter().filter(|r| r.rank(name).is_some()).collect();
            assert_eq!(roles, [role], "{name}");
        }
        assert!(Role::ALL.into_iter().all(|role| role.rank("Befunddatum").is_none()));
    }

    /// A name that two roles claim could not be guessed; a name that is not plain is never found.
    #[test]
    fn every_word_is_plain_and_belongs_to_one_role() {
        let mut words: Vec<_> = Role::ALL.into_iter().flat_map(Role::words).collect();
        assert!(words.iter().all(|word| plain_name(word) == *word));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn splits_are_known_in_five_languages() {
        for (text, want) in [
            ("Train", Some("train")),
            ("Training set", Some("train")),
            ("Validierung", Some("validate")),
            ("val", Some("validate")),
            ("测试集", Some("test")),
            ("Prueba", Some("test")),
            ("extra", None),
        ] {
            assert_eq!(split_name(text), want, "{text}");
        }
    }
}
