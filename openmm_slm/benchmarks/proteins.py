"""Sequences of well-known proteins, on which speed, relaxation and seeding are measured."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SLMError

PROTEINS = {
    "chignolin": "GYDPETGTWG",
    "Trp-cage": "NLYIQWLKDGGPSSGRPPPS",
    "villin": "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF",
    "GB1": "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE",
    "BPTI": "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA",
    "ubiquitin": "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "lysozyme": "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPC"
    "SALLSSDITASVNCAKKIVSDGNGMNAWVAWRNRCKGTDVQAWIRGCRL",
    "myoglobin": "VLSEGEWQLVLHVWAKVEADVAGHGQDILIRLFKSHPETLEKFDRFKHLKTEAEMKASEDLKKHGVTVLTALGA"
    "ILKKKGHHEAELKPLAQSHATKHKIPIKYLEFISEAIIHVLHSRHPGDFGADAQGAMNKALELFRKDIGAKYKELGYQG",
}  # fmt: skip


def choose_proteins(names: Sequence[str], default: Sequence[str] = tuple(PROTEINS)) -> list[str]:
    """Names of `PROTEINS`, or the default if none is given.

    Raises
    ------
    SLMError
        A name that is not in the table.
    """
    for name in names:
        if name not in PROTEINS:
            raise SLMError(f"no protein {name!r}; use {', '.join(PROTEINS)}")
    return list(names or default)
