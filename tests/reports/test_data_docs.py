from age_tasks.reports.data_docs import without_outside


def test_nothing_of_a_page_asks_for_another_file_or_runs():
    page = without_outside(
        '<head><link rel="icon" href="static/icon.ico"><script src="https://cdn.example/x.js"></script></head>'
        '<label class="btn" onclick="show()">All</label> Data asset: None<br> <b>Status</b><script>run()</script>'
        '<a href="https://example.org/">docs</a><img src="https://example.org/logo.png">'
    )
    body = page.partition("</style>")[2]
    assert body == '\n</head><label class="btn">All</label> <b>Status</b>docs'
