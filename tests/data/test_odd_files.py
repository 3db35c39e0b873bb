"""Ten odd files as they are found in the wild, read right: each row by hand."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from own_tables import table

MAY = 1556668800  # 2019-05-01 00:00 UTC

FILES: dict[str, tuple[bytes, dict[str, Any], list[tuple[str, str, float, int | None]]]] = {
    "BX-Book-Ratings.csv": (  # Book-Crossing: semicolons, all quoted, cp1252, ISBNs with X, 0 for no rating
        b'"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n"276726";"0155061224";"5"\r\n'
        b'"276726";"caf\xe9";"7"\r\n',
        {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating", "timestamp": None, "no_rating": [0]},
        [("276726", "0155061224", 5, None), ("276726", "caf\u00e9", 7, None)],
    ),
    "ratings_Books.csv": (  # Amazon 2018: no header, item before user
        b"0001713353,A1C6M8LCIX4M6M,5.0,1123804800\n0001713353,A1REUF3A1YCPHM,4.0,1112140800\n",
        {"item": 1, "user": 2, "rating": 3, "timestamp": 4},
        [("A1C6M8LCIX4M6M", "0001713353", 5, 1123804800), ("A1REUF3A1YCPHM", "0001713353", 4, 1112140800)],
    ),
    "Books.csv.gz": (  # Amazon 2023: gzip, milliseconds
        gzip.compress(
            b"user_id,parent_asin,rating,timestamp\nAE2,B00A,1.0,1556668800123\nAE3,0B1,4,1556668801999\n",
            mtime=0,
        ),
        {"user": "user_id", "item": "parent_asin", "rating": "rating", "timestamp": "timestamp"},
        [("AE2", "B00A", 1, MAY), ("AE3", "0B1", 4, MAY + 1)],
    ),
    "loc-gowalla_totalCheckins.txt": (  # Gowalla: tabs, no header, ISO times, repeated check-ins
        b"0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
        b"0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n",
        {"user": 1, "timestamp": 2, "item": 5, "rating": None},
        [("0", "22847", 1, 1287532527), ("0", "420315", 1, 1287440263)],
    ),
    "user_artists.dat": (  # Last.fm 2k: tabs, counts
        b"userID\tartistID\tweight\r\n2\t51\t13883\r\n2\t52\t11690\r\n",
        {"user": "userID", "item": "artistID", "rating": "weight", "timestamp": None},
        [("2", "51", 13883, None), ("2", "52", 11690, None)],
    ),
    "sasrec.txt": (b"1 1\n1 2\n2 10\n", {"user": 1, "item": 2, "rating": None, "timestamp": None},
                   [("1", "1", 1, None), ("1", "2", 1, None), ("2", "10", 1, None)]),
    "ml-100k.inter": (  # RecBole
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t0242\t3\t881250949\n",
        {"user": "user_id:token", "item": "item_id:token", "rating": "rating:float", "timestamp": "timestamp:float"},
        [("196", "0242", 3, 881250949)],
    ),
    "excel_german.csv": (  # German Excel: byte order mark, semicolons, decimal commas, quotes, a trailing ;
        ("\ufeffKunde;Artikel;Sterne;Datum;\r\n"
        "0012;\"Kanne \"\"blau\"\"; 1 l\";4,5;2019-05-01;\r\n"
        "12;Öl;3;2019-05-02;\r\n").encode(),
        {"user": "Kunde", "item": "Artikel", "rating": "Sterne", "timestamp": "Datum"},
        [("0012", 'Kanne "blau"; 1 l', 4.5, MAY), ("12", "Öl", 3, MAY + 86_400)],
    ),
    "pandas_index.csv": (  # pandas: an index column without a name, floats for ids where one was missing elsewhere
        b",uid,asin,when\n0,17.0,B0,2019-05-01 00:00:00+00:00\n1,18.0,NaN,2019-05-01 02:00:00+02:00\n",
        {"user": "uid", "item": "asin", "rating": None, "timestamp": "when"},
        [("17.0", "B0", 1, MAY), ("18.0", "NaN", 1, MAY)],
    ),
    "events.csv": (  # an export with comments of several lines, an emoji, blank lines, scientific times in microseconds
        ('id,text,sku,ts\n\n'
         'u-1,"line 1\nline 2 🎬, ""x""",SKU_88-é,1.556668800e15\n\n\nu-1,,None,1556668801000000\n').encode(),
        {"user": "id", "item": "sku", "rating": None, "timestamp": "ts"},
        [("u-1", "SKU_88-é", 1, MAY), ("u-1", "None", 1, MAY + 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file(tmp_path: Path, name: str) -> None:
    content, columns, expected = FILES[name]
    (tmp_path / name).write_bytes(content)
    data = table(tmp_path / name, **columns).read()
    times = [None] * len(data) if data.timestamp is None else data.timestamp.tolist()
    users, items = data.user_ids.decode(data.user).astype(str), data.item_ids.decode(data.item).astype(str)
    assert list(zip(users.tolist(), items.tolist(), data.rating.tolist(), times, strict=True)) == expected
