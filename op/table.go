package op

// table lists every operator, sorted by domain, name and since-version.
var table = []Op{}
