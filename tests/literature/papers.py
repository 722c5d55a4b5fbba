"""Papers made on the spot: a PDF with a text layer, a JATS article, a web page."""

from __future__ import annotations

import zlib

SENTENCE = "The optical band gap of CsPbBr3 is 2.36 eV at 300 K."


def pdf(pages: list[list[str]], encrypt: bool = False, compress: bool = True) -> bytes:
    """A PDF of pages of lines, in Helvetica."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for lines in pages:
        shown = "".join(f"({line.translate(str.maketrans({'(': '[', ')': ']'}))}) Tj 0 -14 Td " for line in lines)
        stream = f"BT /F1 11 Tf 60 760 Td {shown} ET".encode("latin-1", "replace")
        packed = zlib.compress(stream) if compress else stream
        filtered = b"/Filter /FlateDecode " if compress else b""
        objects.append(b"<< %s/Length %d >>\nstream\n%s\nendstream" % (filtered, len(packed), packed))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(b"%d 0 R" % k for k in kids))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    locked = b"/ID [<00112233445566778899aabbccddeeff> <00112233445566778899aabbccddeeff>] " if encrypt else b""
    if encrypt:
        locked += b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -44 /O <%s> /U <%s> >> " % (b"ab" * 32, b"cd" * 32)
    return out + b"trailer\n<< /Size %d /Root 1 0 R %s>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, locked, start)


PAPER = pdf(
    [
        ["Bright perovskites", "", "Abstract", "We grow crystals of CsPbBr3 and look at them.", SENTENCE],
        ["Results", "The gap of MAPbI3 amounts to 1.59 eV.", "", "Fig. 1. Absorption of CsPbBr3 with a gap of 2.3 eV."],
        ["References", "[1] A. Author, The band gap of GaAs is 1.42 eV, J. Gaps 1, 2 (2003)."],
    ]
)
JATS = f"""<?xml version="1.0" encoding="UTF-8"?>
<article
 xmlns:mml="http://www.w3.org/1998/Math/MathML"><front>
<journal-meta><journal-title>J. Gaps</journal-title></journal-meta>
<article-meta><title-group><article-title>Bright perovskites</article-title></title-group>
<abstract><p>We study MAPbI<sub>3</sub>. {SENTENCE}</p></abstract></article-meta></front>
<body><sec><title>Results</title>
<p>Conductivity reached 10<sup>-4</sup> S cm<sup>-1</sup> &#8211; high for Li<sub>3</sub>PS<sub>4</sub>.</p>
<fig><label>Fig. 1</label><caption><p>Absorption of CsPbBr<sub>3</sub>.</p></caption></fig>
<table-wrap>
<caption><p>Band gaps</p></caption>
<table><tr><th>Material</th><th>Gap (eV)</th></tr>
<tr><td>GaAs</td><td>1.42</td></tr></table></table-wrap>
</sec></body>
<back><ref-list><title>References</title>
<ref><mixed-citation>A. Author, The band gap of Si is 1.1 eV (2003).</mixed-citation></ref>
</ref-list></back></article>
"""
HTML = f"""<!DOCTYPE html><html>
<head><title>Bright perovskites</title><script>var gap = "9.99 eV";</script></head>
<body>
<nav>Home</nav><h1>Bright perovskites</h1><h2>Results</h2><p>{SENTENCE}</p><div>Loose text on BaTiO<sub>3</sub>.</div>
<section id="references"><h2>References</h2>
<p>A. Author, The band gap of Si is 1.1 eV (2003).</p></section></body></html>
"""
TEXT = f"""Bright perovskites

Abstract
We grow crystals of CsPbBr3. {SENTENCE}

1. Introduction
The gap of MAPbI3 is 1.59 eV.

Fig. 1: Absorption of CsPbBr3 crystals.

References
[1] A. Author, The band gap of GaAs is 1.42 eV.
"""
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE article [<!ENTITY a "0123456789">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><article><body><p>The band gap is &j; eV.</p></body></article>"
)
"""Entities that would grow to ten gigabytes."""
