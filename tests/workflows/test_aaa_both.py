def test_first(prefect): pass
