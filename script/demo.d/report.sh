# Runs in the workspace: reads the source that the template restored, and keeps a todo list.
todo() { printf '::fleetlog {"type":"todo.update","todo":{"todoId":"%s","content":"%s","status":"%s","order":%s}}\n' "$1" "$2" "$3" "$4"; }
todo count "Count the lines of each package" todo 1
todo compile "Compile every Python file" todo 2
todo report "Write the report" todo 3

todo count "Count the lines of each package" doing 1
mkdir -p report
for package in domain application projections infrastructure interfaces sql tests; do
  lines=$(find "$package" -type f \( -name '*.py' -o -name '*.sql' \) -exec cat {} + | wc -l)
  files=$(find "$package" -type f \( -name '*.py' -o -name '*.sql' \) | wc -l)
  echo "$package: $lines lines in $files files" | tee -a report/lines.txt
  sleep 0.3
done
todo count "Count the lines of each package" done 1

todo compile "Compile every Python file" doing 2
compiled=0
while read -r file; do
  python3 -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])' "$file"
  compiled=$((compiled + 1))
  [ $((compiled % 25)) -eq 0 ] && echo "compiled $compiled files"
done < <(find domain application -name '*.py' | sort)
todo compile "Compile every Python file" done 2

todo report "Write the report" doing 3
{ echo "# Report"; echo; cat report/lines.txt; echo; echo "$compiled files compile."; } > report/report.md
ln -s report/report.md REPORT.md
mkdir -p "empty folder é"
chmod +x report/lines.txt
cat report/report.md
todo report "Write the report" done 3
