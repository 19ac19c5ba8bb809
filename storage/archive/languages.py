"""Languages as MDTO and DataCite name them: a code of ISO 639, with more where RFC 5646 (BCP 47) has it ("en-GB")."""

import re

LANGUAGES = ("en", "nl")  # of what terp itself writes of an object: README.md, then LEESMIJ.md
_TAG = re.compile(r"([a-z]{2,3})(?:-[A-Za-z0-9]{2,8})*")
# ISO 639-1; codes of three letters (639-2, 639-3) are some thousands, and not held against a list
_TWO = """aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
    eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka
    kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl
    nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw
    ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"""


def language(said: str) -> str:
    """Return a language; raises ValueError where it is no code of ISO 639."""
    found = _TAG.fullmatch(said)
    if not found or (len(found[1]) == 2 and found[1] not in _TWO.split()):
        raise ValueError('must be a language by its code in ISO 639, as "nl", "en" or "fry"')
    return said
