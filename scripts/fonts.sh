#!/usr/bin/env bash
# Makes the fonts of the PDFs anew (assets/fonts): DejaVu, cut down to the scripts that it does well and to the signs that answers
# are drawn with, without hints, packed. It needs Debian's fonts-dejavu-core, and from PyPI fonttools and zopfli.
set -euo pipefail
cd "$(dirname "$0")/.."

from=/usr/share/fonts/truetype/dejavu
latin="U+0020-007E,U+00A0-017F,U+0192,U+01A0-01A1,U+01AF-01B0,U+0218-021B,U+02BB-02BC,U+02C6-02C7,U+02D8-02DD,U+0300-0309,U+0323,U+1E80-1E85,U+1EA0-1EF9,U+FB01-FB02"
greek_and_cyrillic="U+0370-03FF,U+0400-045F,U+0490-04FF"
hebrew_and_arabic="U+05B0-05EA,U+060C,U+061B,U+061F,U+0621-0655,U+0660-066C,U+0670,U+0679,U+067E,U+0686,U+0688,U+0691,U+0698,U+06A9,U+06AF,U+06BA,U+06BE,U+06C1,U+06CC,U+06D2,U+06D4,U+06F0-06F9,U+200C-200F"
signs="U+2000-2027,U+202A-2064,U+2070-209C,U+20A0-20BF,U+2113,U+2116,U+2122,U+2126,U+212B,U+2153-215E,U+2190-21D5,U+2200-2265,U+2282-228B,U+2295-2299,U+22A2-22A5,U+22C5,U+2308-230B,U+2318,U+2460-2473,U+2500-257F,U+2580-2593,U+25A0-25FF,U+2600-2606,U+2610-2612,U+2639-263A,U+2660-2667,U+2713-2718,U+2794,U+27A1,U+FFFD"
code="U+0020-007E,U+00A0-017F,U+0192,U+0218-021B,U+02C6-02DD,U+0300-0304,U+0308,U+0370-03FF,U+0400-045F,U+0490-0491,U+2010-2027,U+2030-203A,U+2070-2079,U+2080-2089,U+20AC,U+20BD,U+2116,U+2122,U+2126,U+2190-2199,U+21D0-21D5,U+2200-2265,U+2318,U+2500-257F,U+2580-2593,U+25A0-25A1,U+25B2-25C6,U+25CB-25CF,U+2610-2612,U+2713-2718,U+FFFD"

cut() { # the font, the characters, the features
  python3 -m fontTools.subset "$from/$1.ttf" --unicodes="$2" --layout-features="$3" --no-hinting --notdef-outline \
    --name-IDs='0,1,2,3,4,5,6,13,14' --drop-tables+=FFTM --output-file="assets/fonts/$1.ttf"
  python3 -c 'import sys, zopfli.zlib
font = open(sys.argv[1], "rb").read()
open(sys.argv[1] + ".z", "wb").write(zopfli.zlib.compress(font, numiterations=15))' "assets/fonts/$1.ttf"
  rm "assets/fonts/$1.ttf"
}
cut DejaVuSans "$latin,$greek_and_cyrillic,$hebrew_and_arabic,$signs" 'ccmp,locl,mark,mkmk,init,medi,fina,isol,rlig,kern'
cut DejaVuSansMono "$code" 'ccmp,mark'
