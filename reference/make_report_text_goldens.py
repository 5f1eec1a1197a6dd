"""Writes crates/normed/tests/golden/report_texts.json: reports as R2Gen cleans them, by R2Gen's own code.

    git clone https://github.com/zhjohnchan/R2Gen
    python3 reference/make_report_text_goldens.py R2Gen

Each case is [report, cleaned as IU X-Ray's, cleaned as MIMIC-CXR's]. The reports are made up: they have
what the rules look for. Blanks around tokens are collapsed, since R2Gen splits at them next.
"""

import json
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "crates/normed/tests/golden/report_texts.json"
REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "The heart is normal in size. The lungs are clear",
    "The XXXX examination consists of frontal and lateral radiographs of the chest. No XXXX.",
    "1. No acute disease. 2. Stable cardiomegaly. 3. Old rib fracture. 4. None. 5. End.",
    "Impression: 1. Clear lungs 2. No effusion 3. No pneumothorax 6. Not a rule",
    "Grade 1. mild; grade 21. severe.",
    "Heart size (normal), lungs [clear]; no {mass}: see \"note\" / 'addendum' \\ end.",
    "T11-T12 wedge - unchanged, 50% loss & 3 + 4 = 7 < 8 > 2 @ noon; really? yes! 5^2 * 3_4.",
    "Pneumothorax.. none... seen.... at.....all.",
    "No change.   Lines\nand tubes \n\n in place.\n\nET tube 3.5 cm above the carina.",
    "In comparison with the study of ___, there is ________ change. ___ was paged at 10:30 p.m.",
    ". . Leading dots. .",
    "",
    "...",
    "  Trailing blanks.  ",
    "Ünïcode ÄRGER. 2. Größe.",
    "PA and lateral views. 2. Of the chest",
    "A. B. C. D",
    "no acute cardiopulmonary abnormality . lungs are clear .",
    "Comparison: 12/3/2009. Findings: None. [2. quoted]",
]


def main(r2gen):
    sys.path.insert(0, str(r2gen))
    from modules.tokenizers import Tokenizer

    own = Tokenizer.__new__(Tokenizer)  # the rules need no vocabulary
    rules = own.clean_report_iu_xray, own.clean_report_mimic_cxr
    cases = [[text, *(" ".join(rule(text).split()) for rule in rules)] for text in REPORTS]
    OUT.write_text(json.dumps(cases, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
